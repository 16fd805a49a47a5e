"""Evaluation on test items that no stage has seen: accuracy by stage, by k and by vote; biases; the meta RM's AUC; ablations.

Every figure is a share of items with a 95% interval from a bootstrap over items. Samples of a seed stand in a fixed order and `@k` uses the
first k of them, so figures at different k are of the same draw.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .config import Config
from .meta import log_odds, yes_no_tokens
from .run import load_model, load_tokenizer, prompts_of, say, tasks_of
from .sampler import Sampler, encode, sample_texts
from .scores import is_correct, read_scores, unshuffle
from .tasks import Task
from .votes import Scores, meta_topk, naive

KS = [1, 2, 4, 8, 16, 32]
ORDERS = 8
"""Different orders of the responses among the samples of an item; sample j stands in order j mod 8."""


@dataclass
class Draws:
    """Samples of one item."""

    task: Task
    scores: list[Scores]
    orders: list[list[int]]
    texts: list[str | None]
    rewards: list[float]


def balanced_orders(n: int, rng: random.Random) -> list[list[int]]:
    """8 orders in which each response stands in each place equally often, as far as 8 divides."""
    orders: list[list[int]] = []
    while len(orders) < ORDERS:
        base = list(range(n))
        rng.shuffle(base)
        orders += [base[turn:] + base[:turn] for turn in range(n)]
    return orders[:ORDERS]


class Judge:
    """One trained GRM."""

    def __init__(self, config: Config, folder: Path):
        self.config = config
        self.tokenizer = load_tokenizer(folder)
        self.sampler = Sampler(load_model(folder), torch.bfloat16 if config.bf16 else torch.float32)
        self.prompts = prompts_of(config)

    def ask(self, task: Task, order: list[int]) -> list[dict]:
        return self.prompts.judge(task.query, [r.text for r in task.responses], order, task.reference)

    def generate(self, asked: list[tuple[Task, list[int]]], k: int, temperature: float, seed: int, forced: str = "") -> list[list[str | None]]:
        limit = self.config.evaluation.max_tokens
        chats = [self.ask(task, order) for task, order in asked]
        return sample_texts(self.sampler, self.tokenizer, chats, k, temperature, limit, seed, forced=forced)

    def greedy(self, tasks: list[Task], seed: int, reverse: bool = False, forced: str = "") -> list[Scores]:
        rng = random.Random(f"greedy:{seed}")
        asked = []
        for task in tasks:
            order = list(range(len(task.responses)))
            rng.shuffle(order)
            asked.append((task, order[::-1] if reverse else order))
        return [_scores(text, order) for (_, order), (text,) in zip(asked, self.generate(asked, 1, 0, seed, forced))]

    def draws(self, tasks: list[Task], seed: int, k: int) -> list[Draws]:
        rng = random.Random(f"orders:{seed}")
        orders = [balanced_orders(len(task.responses), rng) for task in tasks]
        asked = [(task, order) for task, of in zip(tasks, orders) for order in of]
        per_order = max(1, k // ORDERS)
        texts = self.generate(asked, per_order, self.config.evaluation.temperature, seed)
        result = []
        for at, task in enumerate(tasks):
            mine = texts[at * ORDERS : (at + 1) * ORDERS]
            interleaved = [(mine[o][draw], orders[at][o]) for draw in range(per_order) for o in range(ORDERS)][:k]
            result.append(Draws(task, [_scores(*one) for one in interleaved], [o for _, o in interleaved], [t for t, _ in interleaved], []))
        return result


def _scores(text: str | None, order: list[int]) -> Scores:
    shown = None if text is None else read_scores(text, len(order))
    return None if shown is None else unshuffle(shown, order)


def rank(config: Config, folder: Path, draws: list[Draws]) -> None:
    """Puts a meta reward on every sample."""
    tokenizer, prompts = load_tokenizer(folder), prompts_of(config)
    sampler = Sampler(load_model(folder), torch.bfloat16 if config.bf16 else torch.float32)
    answers = yes_no_tokens(tokenizer)
    asked: list[tuple[int, int, list[int]]] = []
    for item, draw in enumerate(draws):
        draw.rewards = [float("-inf")] * len(draw.scores)
        for at, (text, order) in enumerate(zip(draw.texts, draw.orders)):
            if draw.scores[at] is None:
                continue
            task = draw.task
            chat = prompts.check(task.query, [r.text for r in task.responses], order, text, task.reference)
            asked.append((item, at, encode(tokenizer, chat)))
    asked.sort(key=lambda one: len(one[2]))
    for start in range(0, len(asked), 256):
        batch = asked[start : start + 256]
        logits, *_ = sampler.prefill([ids for *_, ids in batch])
        for (item, at, _), reward in zip(batch, log_odds(logits, answers).tolist()):
            draws[item].rewards[at] = reward


def right(scores: Scores, task: Task) -> bool:
    return scores is not None and is_correct(scores, task.labels)


def interval(values: list[bool] | list[float], seed: int = 0) -> dict:
    """Mean and 95% bootstrap interval. Values of several seeds of one item: give their mean."""
    array = np.asarray(values, dtype=float)
    rng = np.random.default_rng(seed)
    means = array[rng.integers(0, len(array), (1000, len(array)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return {"mean": round(float(array.mean()), 4), "low": round(float(low), 4), "high": round(float(high), 4), "n": len(array)}


def auc(positive: list[float], negative: list[float]) -> float:
    """Odds that a correct trajectory gets the higher reward; ties count half."""
    values = np.concatenate([positive, negative])
    order = values.argsort(kind="stable")
    ranks = np.empty(len(values))
    ranks[order] = np.arange(1, len(values) + 1)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.bincount(inverse, ranks) / counts)[inverse]
    p, n = len(positive), len(negative)
    return float((ranks[:p].sum() - p * (p + 1) / 2) / (p * n))


def winner(scores: Scores) -> int | None:
    """The one response above all others; None at a tie or without a verdict."""
    if scores is None:
        return None
    top = max(scores)
    return scores.index(top) if scores.count(top) == 1 else None


def flips(judge: Judge, tasks: list[Task], seed: int, k: int) -> dict:
    """Share of verdicts whose winner changes when the order of the responses is reversed."""
    many = [task for task in tasks if len(task.responses) > 1]
    if k == 1:
        pairs = zip(judge.greedy(many, seed), judge.greedy(many, seed, reverse=True))
        return interval([winner(a) != winner(b) for a, b in pairs])
    rng = random.Random(f"flips:{seed}")
    asked = []
    for task in many:
        order = list(range(len(task.responses)))
        rng.shuffle(order)
        asked += [(task, order), (task, order[::-1])]
    texts = judge.generate(asked, k, judge.config.evaluation.temperature, seed)
    votes = [naive([_scores(text, order) for text in drawn]) for (_, order), drawn in zip(asked, texts)]
    return interval([winner(a) != winner(b) for a, b in zip(votes[::2], votes[1::2])])


def length_bias(verdicts: list[Scores], tasks: list[Task]) -> float:
    """Accuracy where the longest response is the best one, less the accuracy where it is not (n >= 2)."""
    groups: dict[bool, list[bool]] = {True: [], False: []}
    for scores, task in zip(verdicts, tasks):
        if len(task.responses) < 2:
            continue
        lengths = [len(r.text) for r in task.responses]
        groups[lengths.index(max(lengths)) == task.best].append(right(scores, task))
    return round(float(np.mean(groups[True]) - np.mean(groups[False])), 4)


def mean_over(columns: list[list[bool]]) -> list[float]:
    return [float(np.mean(column)) for column in zip(*columns)]


def evaluate(config: Config) -> dict:
    """Everything that docs/spct.md shows; written to evaluation.json."""
    tasks = tasks_of(config)
    test, held_out = tasks["test"][: config.evaluation.items], tasks["held_out"]
    seeds, k_max = config.evaluation.seeds, config.evaluation.k
    results: dict = {"items": len(test), "held_out": len(held_out), "seeds": seeds}

    stages = [name for name in ("cold", "rft", "rft-easy", "rl") if (config.folder / name / "done").exists()]
    results["greedy"], results["flips"], results["length_bias"], results["by_family"] = {}, {}, {}, {}
    for name in stages:
        judge = Judge(config, config.folder / name)
        verdicts = [judge.greedy(test, seed) for seed in seeds]
        per_seed = [[right(scores, task) for scores, task in zip(v, test)] for v in verdicts]
        results["greedy"][name] = interval(mean_over(per_seed))
        results["by_family"][name] = {
            family: round(float(np.mean([ok for row in per_seed for ok, task in zip(row, test) if task.family == family])), 3)
            for family in sorted({task.family for task in test})
        }
        if config.evaluation.biases and name != "rft-easy":
            results["flips"][name] = {"1": flips(judge, test, seeds[0], 1)}
            results["length_bias"][name] = {"1": length_bias(verdicts[0], test)}
            if name != "cold":
                results["flips"][name]["8"] = flips(judge, test, seeds[0], 8)
                results["length_bias"][name]["8"] = length_bias([naive(d.scores) for d in judge.draws(test, seeds[0], 8)], test)
        say(config, "evaluate", of=name, greedy=results["greedy"][name]["mean"])

    judge = Judge(config, config.folder / "rl")
    at_once = [[right(s, t) for s, t in zip(judge.greedy(test, seed, forced="Scores: \\boxed{"), test)] for seed in seeds]
    results["without_principles"] = interval(mean_over(at_once))
    if held_out:
        results["held_out_greedy"] = interval([right(s, t) for s, t in zip(judge.greedy(held_out, seeds[0]), held_out)])

    by_seed = [judge.draws(test, seed, k_max) for seed in seeds]
    for draws in by_seed:
        rank(config, config.folder / "meta", draws)
        say(config, "evaluate", drawn=len(draws) * k_max)
    everything = [draw for draws in by_seed for draw in draws]
    results["valid"] = round(float(np.mean([s is not None for d in everything for s in d.scores])), 4)
    results["naive"], results["meta"] = {}, {}
    for k in [k for k in KS if k <= k_max]:
        results["naive"][k] = interval(mean_over([[right(naive(d.scores[:k]), d.task) for d in draws] for draws in by_seed]))
        results["meta"][k] = interval(mean_over([[right(meta_topk(d.scores[:k], d.rewards[:k]), d.task) for d in draws] for draws in by_seed]))
    results["k_meta"] = {
        keep: interval(mean_over([[right(meta_topk(d.scores, d.rewards, keep), d.task) for d in draws] for draws in by_seed]))
        for keep in [1, 2, 4, 8, 16, 24, 32] if keep <= k_max
    }
    results["oracle"] = {k: interval(mean_over([[any(right(s, d.task) for s in d.scores[:k]) for d in draws] for draws in by_seed])) for k in [8, k_max]}
    labelled = [(reward, right(scores, d.task)) for d in everything for scores, reward in zip(d.scores, d.rewards) if scores is not None]
    good, bad = [r for r, ok in labelled if ok], [r for r, ok in labelled if not ok]
    results["meta_auc"] = round(auc(good, bad), 4) if good and bad else None
    inside = []
    for d in everything:
        g = [r for r, s in zip(d.rewards, d.scores) if s is not None and right(s, d.task)]
        b = [r for r, s in zip(d.rewards, d.scores) if s is not None and not right(s, d.task)]
        if g and b:
            inside.append(auc(g, b))
    results["meta_auc_inside_items"] = round(float(np.mean(inside)), 4) if inside else None
    results["mixed_items"] = round(len(inside) / len(everything), 4)
    (config.folder / "evaluation.json").write_text(json.dumps(results, indent=2) + "\n")
    return results
