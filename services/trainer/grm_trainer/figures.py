"""Figures: shares of items with 95% intervals from a bootstrap over items, paired differences, and the AUC.

A value of an item is its mean over seeds, so an interval says how far the figure would move with other items of the same kind.
"""

from __future__ import annotations

import numpy as np

RESAMPLES = 1000


def interval(values: list[bool] | list[float], seed: int = 0) -> dict:
    """Mean of one value per item, with its interval."""
    array = np.asarray(values, dtype=float)
    rng = np.random.default_rng(seed)
    means = array[rng.integers(0, len(array), (RESAMPLES, len(array)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return {"mean": round(float(array.mean()), 4), "low": round(float(low), 4), "high": round(float(high), 4), "n": len(array)}


def paired(ours: list[float], theirs: list[float]) -> dict:
    """Mean of the differences on the same items. It decides what two overlapping intervals cannot."""
    return interval([a - b for a, b in zip(ours, theirs, strict=True)])


def mean_over(columns: list[list[bool]]) -> list[float]:
    """From a list per seed to one value per item."""
    return [float(np.mean(column)) for column in zip(*columns, strict=True)]


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


def auc_interval(items: list[list[tuple[float, bool]]], seed: int = 0) -> dict | None:
    """AUC over all samples, resampled by item with all its samples. items: (reward, correct) of each sample."""
    def of(chosen) -> float | None:
        flat = [one for at in chosen for one in items[at]]
        good, bad = [r for r, ok in flat if ok], [r for r, ok in flat if not ok]
        return auc(good, bad) if good and bad else None

    mean = of(range(len(items)))
    if mean is None:
        return None
    rng = np.random.default_rng(seed)
    drawn = [value for _ in range(200) if (value := of(rng.integers(0, len(items), len(items)))) is not None]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"mean": round(mean, 4), "low": round(float(low), 4), "high": round(float(high), 4), "n": len(items)}
