"""Cold start (nano scale only: bigger models begin with what they have learned elsewhere): imitate imperfect critics."""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from .config import Config
from .critic import critique
from .run import new_model, prompts_of, save, say, seen_ids, skips, tasks_of
from .sft import Encoded, encode_rows, finetune_encoded, sft_arguments
from .tasks import Task, make_tasks
from .vocabulary import train_tokenizer

CHUNK = 4000
"""Items that one process makes at a time."""

T = TypeVar("T")


def chunks(config: Config, work: Callable[[list[Task], int], T], seed: int, items: int) -> Iterator[T]:
    """`work` of so many training items, a chunk of them at a time, each in a process of its own; in order, the same however many processes there are.

    No item of another split is among them. Two chunks may share one: it is then trained on twice.
    """
    reserved = seen_ids(tasks_of(config))
    sizes = [min(CHUNK, items - start) for start in range(0, items, CHUNK)]
    with multiprocessing.get_context("fork").Pool(min(len(sizes), len(os.sched_getaffinity(0)))) as pool:
        yield from pool.imap(partial(_chunk, work, reserved), [(seed + 1000 * at, size) for at, size in enumerate(sizes)])


def _chunk(work: Callable[[list[Task], int], T], reserved: set[str], of: tuple[int, int]) -> T:
    seed, size = of
    return work(make_tasks("train", seed, size, seen=set(reserved)), seed)


def queries(config: Config) -> set[str]:
    """The queries of the items of the cold start."""
    if config.cold is None:
        return set()
    return set().union(*chunks(config, _queries, config.seed + 1_000, config.cold.trajectories))


def _queries(tasks: list[Task], seed: int) -> set[str]:
    return {task.query for task in tasks}


def trajectories(config: Config, tasks: Iterable[Task], seed: int) -> Iterator[tuple[list[dict], str]]:
    """(the chat that asks, completion): each item once, in a random order, by one imperfect critic."""
    prompts, rng = prompts_of(config), random.Random(f"cold:{seed}")
    for task in tasks:
        order = list(range(len(task.responses)))
        rng.shuffle(order)
        prompt = prompts.judge(task.query, [r.text for r in task.responses], order, task.reference)
        yield prompt, critique(task, order, rng)


def _texts(config: Config, tasks: list[Task], seed: int) -> list[str]:
    return [text for asked, completion in trajectories(config, tasks, seed) for text in [*[message["content"] for message in asked], completion]]


def _encoded(config: Config, tokenizer, tasks: list[Task], seed: int) -> Encoded:
    return encode_rows(tokenizer, list(trajectories(config, tasks, seed)), config.cold.sft)


def cold_start(config: Config) -> None:
    folder = config.folder / "cold"
    if config.cold is None:
        raise ValueError("cold: the recipe has no settings for it")
    if skips(folder):
        return
    seed, count, shape = config.seed + 1_000, config.cold.trajectories, config.model.scratch
    some = chunks(config, partial(_texts, config), seed, min(count, 20_000))
    tokenizer = train_tokenizer([*(text for texts in some for text in texts), "Yes", "No"], shape.vocab_size)
    rows = Encoded.joined(list(chunks(config, partial(_encoded, config, tokenizer), seed, count)))
    model = new_model(config, len(tokenizer))
    say(config, "cold", trajectories=len(rows), parameters=model.num_parameters(), vocabulary=len(tokenizer), tokens_each=len(rows.ids) / len(rows))
    arguments = sft_arguments(config, "cold.sft", tokenizer, config.cold.sft, folder)
    save(finetune_encoded(config, "cold", model, tokenizer, rows, config.cold.sft, arguments), tokenizer, folder)
