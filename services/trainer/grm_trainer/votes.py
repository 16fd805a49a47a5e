"""Votes as the cluster takes them (src/grm/vote.ts), for evaluation: naive sums, and sums of what the meta RM keeps."""

from __future__ import annotations

import math

Scores = list[float] | None
"""Of one sample, in the item's order; None = invalid."""


def naive(samples: list[Scores]) -> list[float] | None:
    """Mean score per response over valid samples (the order of sums is the same); None when no sample is valid."""
    valid = [scores for scores in samples if scores is not None]
    return [sum(column) / len(valid) for column in zip(*valid)] if valid else None


def meta_topk(samples: list[Scores], rewards: list[float], k_meta: int | None = None) -> list[float] | None:
    """As naive, over the k_meta valid samples of the highest meta reward; by default half of the valid ones, rounded up.
    Ties go to the lower index."""
    valid = [(reward, -at, scores) for at, (scores, reward) in enumerate(zip(samples, rewards)) if scores is not None]
    if not valid:
        return None
    keep = k_meta if k_meta is not None else max(1, math.ceil(len(valid) / 2))
    best = sorted(valid, key=lambda one: (one[0], one[1]), reverse=True)[:keep]
    return naive([scores for *_, scores in best])
