"""Cold start (nano scale only: bigger models begin with what they have learned elsewhere): imitate imperfect critics."""

from __future__ import annotations

import random
from collections.abc import Iterator

from .config import Config
from .critic import critique
from .run import new_model, prompts_of, save, say, seen_ids, skips, tasks_of
from .sft import finetune, sft_arguments
from .tasks import Task, make_tasks
from .vocabulary import train_tokenizer


def cold_tasks(config: Config) -> list[Task]:
    """The items of the cold start."""
    if config.cold is None:
        return []
    return make_tasks("train", config.seed + 1_000, config.cold.trajectories, seen=seen_ids(tasks_of(config)))


def trajectories(config: Config) -> Iterator[tuple[list[dict], str]]:
    """(the chat that asks, completion): each item once, in a random order, by one imperfect critic."""
    prompts, rng = prompts_of(config), random.Random(f"cold:{config.seed}")
    for task in cold_tasks(config):
        order = list(range(len(task.responses)))
        rng.shuffle(order)
        prompt = prompts.judge(task.query, [r.text for r in task.responses], order, task.reference)
        yield prompt, critique(task, order, rng)


def cold_start(config: Config) -> None:
    folder = config.folder / "cold"
    if config.cold is None:
        raise ValueError("cold: the recipe has no settings for it")
    if skips(folder):
        return
    rows = list(trajectories(config))
    shape = config.model.scratch
    texts = (text for asked, completion in rows[:20_000] for text in [*[message["content"] for message in asked], completion])
    tokenizer = train_tokenizer([*texts, "Yes", "No"], shape.vocab_size)
    model = new_model(config, len(tokenizer))
    some = rows[:500]
    tokens = sum(len(tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": done}], return_dict=False)) for asked, done in some) / len(some)
    say(config, "cold", trajectories=len(rows), parameters=model.num_parameters(), vocabulary=len(tokenizer), tokens_each=tokens)
    arguments = sft_arguments(config, "cold.sft", tokenizer, config.cold.sft, folder)
    save(finetune(config, "cold", model, tokenizer, rows, config.cold.sft, arguments), tokenizer, folder)
