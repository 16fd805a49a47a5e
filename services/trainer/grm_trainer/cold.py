"""Cold start (nano scale only: bigger models begin with what they have learned elsewhere): imitate imperfect critics."""

from __future__ import annotations

import random
from collections.abc import Iterator

from datasets import Dataset

from .config import Config
from .critic import critique
from .run import is_done, new_model, prompts_of, save, say, seen_ids, tasks_of
from .sft import conversations, finetune
from .tasks import make_tasks
from .vocabulary import train_tokenizer


def trajectories(config: Config, count: int) -> Iterator[tuple[list[dict], str]]:
    """(the chat that asks, completion): each item once, in a random order, by one imperfect critic."""
    prompts, rng = prompts_of(config), random.Random(f"cold:{config.seed}")
    for task in make_tasks("train", config.seed + 1_000, count, seen=seen_ids(tasks_of(config))):
        order = list(range(len(task.responses)))
        rng.shuffle(order)
        prompt = prompts.judge(task.query, [r.text for r in task.responses], order, task.reference)
        yield prompt, critique(task, order, rng)


def copying(tokenizer, rows: int, seed: int) -> Dataset:
    """Random tokens, three times the same 3..12 with others between; loss where they come again.

    Judging is mostly finding again what stands in the prompt. A model that begins with nothing finds that out late from tasks alone, where few
    tokens depend on it, and soon from rows where all do.
    """
    rng = random.Random(f"copying:{seed}")
    special = set(tokenizer.all_special_ids)
    tokens = [token for token in range(len(tokenizer)) if token not in special]
    ids, masks = [], []
    for _ in range(rows):
        again = rng.choices(tokens, k=rng.randint(3, 12))
        between = [rng.choices(tokens, k=rng.randint(1, 4)) for _ in range(2)]
        ids.append([*again, *between[0], *again, *between[1], *again])
        # The first token of a copy cannot be known.
        seen = [0] + [1] * (len(again) - 1)
        masks.append([0] * len(again) + [0] * len(between[0]) + seen + [0] * len(between[1]) + seen)
    return Dataset.from_dict({"input_ids": ids, "completion_mask": masks})


def cold_start(config: Config) -> None:
    folder = config.folder / "cold"
    if config.cold is None or is_done(folder):
        return
    rows = list(trajectories(config, config.cold.trajectories))
    shape = config.model.scratch
    texts = (text for asked, completion in rows[:20_000] for text in [*[message["content"] for message in asked], completion])
    tokenizer = train_tokenizer([*texts, "Yes", "No"], shape.vocab_size)
    model = new_model(config, len(tokenizer))
    some = rows[:500]
    tokens = sum(len(tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": done}], return_dict=False)) for asked, done in some) / len(some)
    say(config, "cold", trajectories=len(rows), parameters=model.num_parameters(), vocabulary=len(tokenizer), tokens_each=tokens)
    if config.cold.copying is not None:
        copies = copying(tokenizer, config.cold.copying_rows, config.seed)
        finetune(config, "copying", model, tokenizer, copies, config.cold.copying, config.folder / "copying")
    finetune(config, "cold", model, tokenizer, conversations(rows), config.cold.sft, folder)
    save(model, tokenizer, folder)
