"""Evaluation on items that no stage has seen: accuracy by stage, by k and by vote; biases; the meta RM's AUC; ablations.

Every accuracy is a share of items with a 95% interval (figures.py). Samples of a seed stand in a fixed order and `@k` uses the first k of them,
so figures at different k are of the same draw.
"""

from __future__ import annotations

import json
from collections import Counter

import numpy as np

from .biases import flips_greedy, flips_voted, length_bias
from .cold import queries as cold_queries
from .config import Config
from .figures import auc, auc_interval, interval, mean_over, paired
from .judge import Draws, Judge, ranked_draws
from .run import say, tasks_of
from .scores import vote_is_correct
from .tasks import Task
from .votes import Scores, meta_topk, naive

KS = [1, 2, 4, 8, 16, 32]

KEPT = [0.25, 0.5, 0.75]
"""Shares of k that a meta vote may keep; half is the paper's."""


def right(scores: Scores, task: Task) -> bool:
    """Of a sample or of a vote: the mean of one response need only round to its label."""
    return scores is not None and vote_is_correct(scores, task.labels)


def unseen(config: Config) -> tuple[list[Task], dict[str, float]]:
    """The items to evaluate on, and how many of each family ask in the very words of a training item: no item is in both, but a query may be."""
    tasks = tasks_of(config)
    queries = {task.query for task in [*tasks["rft"], *tasks["rl"], *tasks["meta"]]} | cold_queries(config)
    items = tasks[config.evaluation.split]
    items = items[: config.evaluation.items or len(items)]
    total, shared = Counter(t.family for t in items), Counter(t.family for t in items if t.query in queries)
    return items, {family: round(shared[family] / total[family], 3) for family in sorted(total)}


def evaluate(config: Config) -> dict:
    """Everything that docs/spct.md shows; written to evaluation.json."""
    test, queries_seen = unseen(config)
    seeds = config.evaluation.seeds
    results: dict = {"items": len(test), "seeds": seeds, "split": config.evaluation.split, "queries_seen": queries_seen}
    by_stage(config, test, results)
    judge = Judge(config, config.folder / "rl")
    at_once = [[right(s, t) for s, t in zip(judge.greedy(test, seed, forced="Scores: \\boxed{"), test)] for seed in seeds]
    results["without_principles"] = interval(mean_over(at_once))
    if held_out := tasks_of(config)["held_out"]:
        per_seed = [[right(s, t) for s, t in zip(judge.greedy(held_out, seed), held_out)] for seed in seeds]
        results["held_out_greedy"] = interval(mean_over(per_seed))
    say(config, "evaluate", without_principles=results["without_principles"]["mean"])
    by_seed = []
    for seed in seeds:
        by_seed.append(ranked_draws(config, test, seed, config.evaluation.k))
        say(config, "evaluate", seed=seed, drawn=len(test) * config.evaluation.k)
    by_vote(config, by_seed, results)
    of_meta(by_seed, results)
    (config.folder / "evaluation.json").write_text(json.dumps(results, indent=2) + "\n")
    return results


def by_stage(config: Config, test: list[Task], results: dict) -> None:
    """Greedy accuracy and biases of every stage that was trained."""
    seeds = config.evaluation.seeds
    results |= {"greedy": {}, "by_family": {}, "flips": {}, "length_bias": {}, "steps": {}}
    values: dict[str, list[float]] = {}
    stages = [name for name in ("cold", "rft", "rft-easy", "rl") if (config.folder / name / "done").exists()]
    for name in stages:
        judge = Judge(config, config.folder / name)
        greedy = {seed: judge.greedy(test, seed) for seed in seeds}
        values[name] = mean_over([[right(s, task) for s, task in zip(shown, test)] for shown in greedy.values()])
        results["greedy"][name] = interval(values[name])
        families = sorted({task.family for task in test})
        of = {family: [value for value, task in zip(values[name], test) if task.family == family] for family in families}
        results["by_family"][name] = {family: interval(of[family]) for family in families}
        if config.evaluation.biases and name != "rft-easy":
            results["flips"][name] = {"1": flips_greedy(judge, test, greedy)}
            results["length_bias"][name] = {"1": length_bias(values[name], test)}
            if name != "cold":
                results["flips"][name]["8"] = flips_voted(judge, test, seeds[0], 8)
            if name == "rft":
                results["length_bias"][name]["8"] = length_bias(voted_right(judge.draws(test, seeds[0], 8)), test)
        say(config, "evaluate", of=name, greedy=results["greedy"][name]["mean"])
    for before, after in (("cold", "rft"), ("rft", "rl"), ("cold", "rl"), ("rft-easy", "rft")):
        if before in values and after in values:
            results["steps"][f"{after} - {before}"] = paired(values[after], values[before])


def voted_right(draws: list[Draws], k: int = 8) -> list[float]:
    """Of each item, whether the naive vote of its first k samples is right: 0 or 1."""
    return [float(right(naive(d.scores[:k]), d.task)) for d in draws]


def by_vote(config: Config, by_seed: list[list[Draws]], results: dict) -> None:
    """Votes at each k, the sweep of k_meta, and the differences that the paper claims."""
    k_max = config.evaluation.k
    over = lambda vote: mean_over([[right(vote(d), d.task) for d in draws] for draws in by_seed])
    if config.evaluation.biases:
        results["length_bias"]["rl"]["8"] = length_bias(voted_right(by_seed[0]), [d.task for d in by_seed[0]])
    plain = {k: over(lambda d: naive(d.scores[:k])) for k in KS if k <= k_max}
    meta = {k: over(lambda d: meta_topk(d.scores[:k], d.rewards[:k])) for k in KS if k <= k_max}
    results["naive"] = {k: interval(values) for k, values in plain.items()}
    results["meta"] = {k: interval(values) for k, values in meta.items()}
    results["meta - naive"] = {k: paired(meta[k], plain[k]) for k in plain}
    last = max(plain)
    results["claims"] = {f"naive@{last} - naive@1": paired(plain[last], plain[1]), f"meta@{last} - meta@1": paired(meta[last], meta[1])}
    if 8 in meta:
        results["claims"][f"meta@8 - naive@{last}"] = paired(meta[8], plain[last])
    results["k_meta"] = {
        keep: interval(over(lambda d: meta_topk(d.scores, d.rewards, keep))) for keep in [1, 2, 4, 8, 16, 24, 32] if keep <= k_max
    }
    keeping = {f"{kept:.2f}": {k: over(lambda d: meta_topk(d.scores[:k], d.rewards[:k], round(k * kept))) for k in meta if k >= 4} for kept in KEPT}
    results["kept"] = {
        kept: {
            **{f"meta@{k} - naive@{k}": paired(values, plain[k]) for k, values in by_k.items()},
            **({f"meta@8 - naive@{last}": paired(by_k[8], plain[last])} if 8 in by_k and last > 8 else {}),
        }
        for kept, by_k in keeping.items()
    }
    results["oracle"] = {k: interval(over(lambda d: d.scores[_first_right(d, k)])) for k in (8, 32) if k <= k_max}
    results["valid"] = interval([float(np.mean([s is not None for draws in by_seed for s in draws[at].scores])) for at in range(len(by_seed[0]))])


def _first_right(draws: Draws, k: int) -> int:
    return next((at for at, scores in enumerate(draws.scores[:k]) if right(scores, draws.task)), 0)


def of_meta(by_seed: list[list[Draws]], results: dict) -> None:
    """How well the meta RM tells correct samples from incorrect ones, over all and among the samples of one item."""
    labelled = [
        [(reward, right(scores, d.task)) for scores, reward in zip(d.scores, d.rewards) if scores is not None]
        for draws in by_seed for d in draws
    ]
    items = len(by_seed[0])
    results["meta_auc"] = auc_interval([[one for part in labelled[at::items] for one in part] for at in range(items)])
    inside = []
    for samples in labelled:
        good, bad = [r for r, ok in samples if ok], [r for r, ok in samples if not ok]
        if good and bad:
            inside.append(auc(good, bad))
    results["meta_auc_inside_items"] = interval(inside) if inside else None
    results["mixed_items"] = round(len(inside) / len(labelled), 4)
