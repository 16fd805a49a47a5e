"""Scores: reads the box of a generation by the cluster's rule (src/grm/parse.ts), and the rule of correctness (method: SPCT)."""

from __future__ import annotations

import re

_BOX = re.compile(r"boxed\s*\{([^{}]*)\}")
_NUMBER = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(?:/\s*10)?\s*$")


def read_scores(text: str, n: int) -> list[float] | None:
    """The last box that holds exactly n numbers in 1..10, in the order shown; None = an invalid sample."""
    for box in reversed(_BOX.findall(text)):
        found = [_NUMBER.match(part) for part in box.split(",")]
        if len(found) != n or not all(found):
            continue
        values = [float(match[1]) for match in found if match]
        if all(1 <= value <= 10 for value in values):
            return values
    return None


def unshuffle(shown: list[float], permutation: list[int]) -> list[float]:
    """Scores in the item's order."""
    scores = [0.0] * len(permutation)
    for place, i in enumerate(permutation):
        scores[i] = shown[place]
    return scores


def is_correct(scores: list[float], labels: list[int]) -> bool:
    """n >= 2: the best response is strictly above every other; n = 1: the score, rounded to a whole number, is the label."""
    if len(labels) == 1:
        return abs(scores[0] - labels[0]) < 0.5
    best = labels.index(max(labels))
    return all(scores[best] > score for i, score in enumerate(scores) if i != best)


def judged_correct(text: str, labels: list[int], permutation: list[int]) -> bool:
    """Of one generation; an invalid one is incorrect."""
    shown = read_scores(text, len(labels))
    return shown is not None and is_correct(unshuffle(shown, permutation), labels)


def canonical(text: str) -> str:
    """A judgement as the meta RM is shown it: without what stands around the three parts."""
    return text.strip()
