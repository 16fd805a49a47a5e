"""python -m grm_trainer STAGE --config FILE [--set name=value ...]: runs one stage of a recipe, or all of them.

Every stage goes on where it was interrupted, and is skipped when its model is whole.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path

STAGES = ["cold", "rft", "rl", "meta", "ablate", "export", "evaluate", "report"]
FROM_SCRATCH = ["cold", "ablate", "export", "evaluate", "report"]
"""Stages for a model that begins with nothing: they draw with the nano sampler, or need what one of these made."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="grm_trainer", description="SPCT: cold start, RFT, RL, meta RM, export, evaluation.")
    parser.add_argument("stage", choices=["all", "items", *STAGES])
    parser.add_argument("--config", type=Path, required=True, help="YAML file of the recipe")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="overrides one setting; dots go inside")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="CPU threads (default: all)")
    arguments = parser.parse_args()

    from .config import load

    try:
        config = load(arguments.config, arguments.set)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2

    import torch

    torch.set_num_threads(arguments.threads)
    try:
        stages = stages_of(arguments.stage, config)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for stage in stages:
        run(stage, config)
    return 0


def stages_of(wanted: str, config) -> list[str]:
    """What `wanted` runs. Without model.scratch `all` leaves the stages of the nano scale out and says so; one of them alone is a ValueError."""
    if config.model.scratch is not None:
        return STAGES if wanted == "all" else [wanted]
    if wanted in FROM_SCRATCH:
        raise ValueError(f"{wanted}: for recipes with model.scratch alone; a bigger model is served as it is, and judged with grm score")
    if wanted != "all":
        return [wanted]
    from .run import is_first
    if is_first():
        print(f"all: without model.scratch there is no {', '.join(FROM_SCRATCH)}", flush=True)
    return [stage for stage in STAGES if stage not in FROM_SCRATCH]


def run(stage: str, config) -> None:
    match stage:
        case "items":
            from .run import tasks_of, write_jsonl
            for split, tasks in tasks_of(config).items():
                count = write_jsonl(config.folder / "items" / f"{split}.jsonl", (task.row() for task in tasks))
                print(f"{count} items in {config.folder / 'items' / split}.jsonl")
        case "cold":
            from .cold import cold_start
            cold_start(config)
        case "rft":
            from .rft import rejective
            rejective(config)
        case "rl":
            from .rl import reinforce
            reinforce(config)
        case "meta":
            from .meta import train_meta
            train_meta(config)
        case "ablate":
            from .rft import rejective
            rejective(dataclasses.replace(config, rft=dataclasses.replace(config.rft, keep_easy=True)), "rft-easy")
        case "export":
            from .release import release
            release(config)
        case "evaluate":
            from .evaluate import evaluate
            evaluate(config)
        case "report":
            from .report import report
            report(config)


if __name__ == "__main__":
    sys.exit(main())
