"""Report: the evaluation as a Markdown table and a PNG, and the curves of training."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from .config import Config  # noqa: E402
from .run import read_jsonl  # noqa: E402


def share(value: dict) -> str:
    return f"{100 * value['mean']:.1f} ({100 * value['low']:.1f}-{100 * value['high']:.1f})"


def tables(results: dict) -> str:
    """Markdown; shares of items in percent with 95% intervals."""
    lines = ["| stage | greedy accuracy | flips k=1 | flips k=8 | length bias k=1 | length bias k=8 |", "| --- | --- | --- | --- | --- | --- |"]
    for stage, accuracy in results["greedy"].items():
        flips, bias = results["flips"].get(stage), results["length_bias"].get(stage)
        rest = [share(flips[k]) if flips and k in flips else "-" for k in "18"]
        rest += [f"{100 * bias[k]:+.1f}" if bias and k in bias else "-" for k in "18"]
        lines.append(f"| {stage} | {share(accuracy)} | {' | '.join(rest)} |")
    lines += ["", "| k | naive vote | meta vote |", "| --- | --- | --- |"]
    lines += [f"| {k} | {share(results['naive'][k])} | {share(results['meta'][k])} |" for k in results["naive"]]
    lines += ["", "| k_meta of 32 | meta vote |", "| --- | --- |"]
    lines += [f"| {keep} | {share(value)} |" for keep, value in results["k_meta"].items()]
    lines += ["", "| family | " + " | ".join(results["by_family"]) + " |", "| --- |" + " --- |" * len(results["by_family"])]
    for family in next(iter(results["by_family"].values())):
        lines.append(f"| {family} | " + " | ".join(f"{100 * of[family]:.1f}" for of in results["by_family"].values()) + " |")
    lines += ["", f"Meta RM: AUC {results['meta_auc']} over all samples, {results['meta_auc_inside_items']} among samples of one item "
              f"(the {100 * results['mixed_items']:.0f}% of items that have both kinds). Valid samples: {100 * results['valid']:.1f}%."]
    if "held_out_greedy" in results:
        lines.append(f"Longer forms than any seen in training, greedy: {share(results['held_out_greedy'])}.")
    lines.append(f"Scores at once, without principles and critique, greedy: {share(results['without_principles'])}.")
    return "\n".join(lines) + "\n"


def plot_votes(results: dict, path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for name in ("naive", "meta"):
        ks = [int(k) for k in results[name]]
        values = list(results[name].values())
        left.plot(ks, [v["mean"] for v in values], marker="o", label=f"{name} vote")
        left.fill_between(ks, [v["low"] for v in values], [v["high"] for v in values], alpha=0.15)
    left.axhline(results["greedy"]["rl"]["mean"], linestyle=":", color="grey", label="greedy")
    left.set(xscale="log", xlabel="samples k", ylabel="accuracy", title="Voting")
    left.set_xticks(ks, [str(k) for k in ks])
    left.legend()
    stages = list(results["greedy"])
    values = [results["greedy"][stage] for stage in stages]
    means = [v["mean"] for v in values]
    right.bar(stages, means, yerr=[[m - v["low"] for m, v in zip(means, values)], [v["high"] - m for m, v in zip(means, values)]], capsize=4)
    right.set(ylabel="greedy accuracy", title="Stages", ylim=(max(0.0, min(means) - 0.2), 1))
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plot_curves(config: Config, path: Path) -> None:
    rows = read_jsonl(config.folder / "metrics.jsonl")
    shown = [("cold", "loss"), ("rft", "loss"), ("rl", "reward"), ("meta", "loss")]
    figure, axes = plt.subplots(1, len(shown), figsize=(4 * len(shown), 3))
    for axis, (stage, value) in zip(axes, shown):
        points = [(row["step"], row[value]) for row in rows if row["stage"] == stage and value in row and "step" in row]
        if points:
            axis.plot(*zip(*points))
        axis.set(title=f"{stage}: {value}", xlabel="step")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)


def report(config: Config) -> None:
    results = json.loads((config.folder / "evaluation.json").read_text())
    folder = config.folder / "report"
    folder.mkdir(exist_ok=True)
    (folder / "tables.md").write_text(tables(results))
    plot_votes(results, folder / "spct.png")
    plot_curves(config, folder / "curves.png")
    print(tables(results))
