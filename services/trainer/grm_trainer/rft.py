"""Rejective fine-tuning: draw N trajectories per item, keep the correct ones of items that are not too easy, and train on them.

At nano scale the drawing is done here; at any other scale `grm spct rft` does it on the cluster and `data.rft_file` names its output.
The rule is the same (method: SPCT).
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

import torch

from .config import Config
from .run import load_model, on_device, load_tokenizer, prompts_of, save, say, skips, tasks_of, write_jsonl
from .sampler import Sampler, sample_texts
from .scores import judged_correct
from .sft import chat_rows, finetune, sft_arguments
from .tasks import Task


@dataclass(frozen=True)
class Drawn:
    """One trajectory of one item."""

    task: Task
    permutation: list[int]
    asked: list[dict]
    text: str | None
    """None: cut at the token limit."""
    correct: bool


def draw(config: Config, model, tokenizer, tasks: list[Task], samples: int, temperature: float, seed: int, max_tokens: int) -> list[Drawn]:
    """`samples` trajectories per task, each with an order of its own."""
    prompts, rng = prompts_of(config), random.Random(f"draw:{seed}")
    wanted = []
    for task in tasks:
        for _ in range(samples):
            order = list(range(len(task.responses)))
            rng.shuffle(order)
            wanted.append((task, order, prompts.judge(task.query, [r.text for r in task.responses], order, task.reference)))
    sampler = Sampler(on_device(config, model), torch.bfloat16 if config.bf16 else torch.float32)
    texts = sample_texts(sampler, tokenizer, [asked for *_, asked in wanted], 1, temperature, max_tokens, seed)
    return [
        Drawn(task, order, asked, text, text is not None and judged_correct(text, task.labels, order))
        for (task, order, asked), (text,) in zip(wanted, texts)
    ]


def select(drawn: list[Drawn], keep_easy: bool = False) -> tuple[list[Drawn], Counter]:
    """What RFT trains on, and a count of why the rest is not in it."""
    by_item: dict[str, list[Drawn]] = {}
    for one in drawn:
        by_item.setdefault(one.task.id, []).append(one)
    kept, why = [], Counter()
    for item in by_item.values():
        if all(one.correct for one in item) and not keep_easy:
            why["too_easy_items"] += 1
            continue
        for one in item:
            if one.correct:
                kept.append(one)
            else:
                why["invalid" if one.text is None else "incorrect"] += 1
    why["accepted"] = len(kept)
    return kept, why


def rejective(config: Config, name: str = "rft") -> None:
    folder = config.folder / name
    if skips(folder):
        return
    start = config.model.path or str(config.folder / "cold")
    tokenizer = load_tokenizer(start)
    arguments = sft_arguments(config, "rft.sft", tokenizer, config.rft.sft, folder)
    model = load_model(start)
    if config.data.rft_file:
        rows = chat_rows(config.data.rft_file)
    else:
        trajectories = config.folder / "rft-trajectories.jsonl"
        drawn = draw(config, model, tokenizer, tasks_of(config)["rft"], config.rft.samples, config.rft.temperature, config.seed, config.rl.max_tokens)
        write_jsonl(trajectories, (trajectory_row(one) for one in drawn))
        kept, why = select(drawn, config.rft.keep_easy)
        say(config, name, drawn=len(drawn), correct=sum(one.correct for one in drawn) / len(drawn), **why)
        rows = [(one.asked, one.text) for one in kept]
    if config.data.general_file:
        rows += chat_rows(config.data.general_file)
    if not rows:
        raise ValueError(f"{name}: no trajectory was accepted; the model to begin with judges nothing correctly, or everything")
    random.Random(config.seed).shuffle(rows)
    save(finetune(config, name, model, tokenizer, rows, config.rft.sft, arguments), tokenizer, folder)


def trajectory_row(one: Drawn) -> dict:
    """The item's row (tasks.py), and beside its keys `permutation`, `judgement` (the text; null = cut) and `correct`.

    The trainer's own format. `grm spct rft --trajectories` writes another one, which `grm spct meta-data` reads.
    """
    row = one.task.row()
    return row | {"permutation": one.permutation, "judgement": one.text, "correct": one.correct}
