"""Biases: does the order of the responses, or their length, decide?"""

from __future__ import annotations

import random

import numpy as np

from .figures import interval, mean_over
from .scores import unshuffle
from .tasks import Task
from .votes import Scores, naive

MANY = 400
"""Items for the figures that take several samples each."""


def winner(scores: Scores) -> int | None:
    """The one response above all others; None at a tie or without a verdict."""
    if scores is None:
        return None
    top = max(scores)
    return scores.index(top) if scores.count(top) == 1 else None


def flips_greedy(judge, tasks: list[Task], greedy: dict[int, list[Scores]]) -> dict:
    """Share of greedy verdicts whose winner changes when the order of the responses is reversed (n >= 2). `greedy`: by seed, what they were."""
    per_seed = [
        [winner(a) != winner(b) for a, b, task in zip(shown, judge.greedy(tasks, seed, reverse=True), tasks) if len(task.responses) > 1]
        for seed, shown in greedy.items()
    ]
    return interval(mean_over(per_seed))


def flips_voted(judge, tasks: list[Task], seed: int, k: int) -> dict:
    """The same of votes over k samples in one order against k in the reverse; `redraw`: against k more in the same order, which is noise alone."""
    many = [task for task in tasks if len(task.responses) > 1][:MANY]
    rng = random.Random(f"flips:{seed}")
    asked = []
    for task in many:
        order = list(range(len(task.responses)))
        rng.shuffle(order)
        asked += [(task, order), (task, order[::-1]), (task, order)]
    texts = judge.generate(asked, k, judge.config.evaluation.temperature, seed)
    votes = [winner(naive([judge.scores(text, order) for text in drawn])) for (_, order), drawn in zip(asked, texts)]
    return interval([a != b for a, b in zip(votes[::3], votes[1::3])]) | {"redraw": interval([a != b for a, b in zip(votes[::3], votes[2::3])])}


def length_bias(right: list[float], tasks: list[Task]) -> dict:
    """Accuracy where the longest response is the best one, less the accuracy where it is not (n >= 2); within each family, then the mean
    over families: some families have long right answers more often than others. `right`: one value per task."""
    differences = []
    for family in sorted({task.family for task in tasks}):
        groups: dict[bool, list[float]] = {True: [], False: []}
        for value, task in zip(right, tasks, strict=True):
            if task.family != family or len(task.responses) < 2:
                continue
            lengths = [len(r.text) for r in task.responses]
            groups[lengths.index(max(lengths)) == task.best].append(value)
        if groups[True] and groups[False]:
            differences.append((np.asarray(groups[True]), np.asarray(groups[False])))
    rng = np.random.default_rng(0)
    resample = lambda values: values[rng.integers(0, len(values), len(values))].mean()
    means = [np.mean([resample(a) - resample(b) for a, b in differences]) for _ in range(1000)]
    low, high = np.percentile(means, [2.5, 97.5])
    mean = float(np.mean([a.mean() - b.mean() for a, b in differences]))
    return {"mean": round(mean, 4), "low": round(float(low), 4), "high": round(float(high), 4), "n": len(right)}
