"""Report: the evaluation as a Markdown table and a PNG, and the curves of training."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from .config import Config  # noqa: E402
from .run import read_jsonl  # noqa: E402


def share(value: dict | None) -> str:
    """In percent, with the interval."""
    return "-" if value is None else f"{100 * value['mean']:.1f} ({100 * value['low']:.1f} to {100 * value['high']:.1f})"


def difference(value: dict | None) -> str:
    return "-" if value is None else f"{100 * value['mean']:+.1f} ({100 * value['low']:+.1f} to {100 * value['high']:+.1f})"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    line = lambda cells: f"| {' | '.join(cells)} |"
    return [line(head), line(["---"] * len(head)), *map(line, rows), ""]


def tables(results: dict) -> str:
    """Markdown; shares of items in percent and differences in points, with 95% intervals."""
    of = lambda name, stage, k: results[name].get(stage, {}).get(k)
    lines = table(["stage", "greedy accuracy"], [[stage, share(value)] for stage, value in results["greedy"].items()])
    lines += table(["difference on the same items", "points"], [[name, difference(value)] for name, value in results["steps"].items()])
    lines += table(
        ["k", "naive vote", "meta vote", "meta less naive"],
        [[k, share(results["naive"][k]), share(results["meta"][k]), difference(results["meta - naive"][k])] for k in results["naive"]],
    )
    lines += table(["claim", "points"], [[name, difference(value)] for name, value in results["claims"].items()])
    lines += table(["k_meta of 32", "meta vote"], [[keep, share(value)] for keep, value in results["k_meta"].items()])
    claims = list(next(iter(results["kept"].values())))
    lines += table(
        ["points, of all k kept", *[f"{100 * float(kept):.0f}%" for kept in results["kept"]]],
        [[claim, *[difference(by_claim[claim]) for by_claim in results["kept"].values()]] for claim in claims],
    )
    biased = [stage for stage in results["greedy"] if stage in results["flips"]]
    lines += table(
        ["stage", "winner flips, k=1", "flips, k=8", "a redraw in the same order, k=8", "length bias, k=1", "length bias, k=8"],
        [[
            stage, share(of("flips", stage, "1")), share(of("flips", stage, "8")), share((of("flips", stage, "8") or {}).get("redraw")),
            difference(of("length_bias", stage, "1")), difference(of("length_bias", stage, "8")),
        ] for stage in biased],
    )
    stages = list(results["by_family"])
    families = list(next(iter(results["by_family"].values())))
    lines += table(
        ["family", *stages, "queries seen in training"],
        [[f, *[share(results["by_family"][s][f]) for s in stages], f"{100 * results['queries_seen'].get(f, 0):.0f}"] for f in families],
    )
    auc = lambda value: "-" if value is None else f"{value['mean']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
    lines += [
        f"Meta RM: AUC {auc(results['meta_auc'])} over all samples; {auc(results['meta_auc_inside_items'])} among the samples of one item, "
        f"in the {100 * results['mixed_items']:.0f}% of items that have both kinds. Valid samples: {share(results['valid'])}.",
        f"At least one sample right: {', '.join(f'{share(value)} at k={k}' for k, value in results['oracle'].items())}.",
        f"Scores at once, without principles and critique, greedy: {share(results['without_principles'])}.",
    ]
    if "held_out_greedy" in results:
        lines.append(f"Longer forms than any seen in training, greedy: {share(results['held_out_greedy'])}.")
    return "\n".join(lines).strip() + "\n"


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
    trained = {row["stage"] for row in rows}
    shown = [one for one in (("cold", "loss"), ("rft", "loss"), ("rl", "reward"), ("meta-cold", "loss"), ("meta", "loss")) if one[0] in trained]
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
