"""Cold start (nano scale only: bigger models begin with what they have learned elsewhere): imitate imperfect critics."""

from __future__ import annotations

import random
from collections.abc import Iterator

from .config import Config
from .critic import critique
from .run import is_done, new_model, prompts_of, save, say, seen_ids, tasks_of
from .sft import finetune
from .tasks import make_tasks
from .vocabulary import train_tokenizer


def trajectories(config: Config, count: int) -> Iterator[tuple[str, str]]:
    """(user message, completion): each item once, in a random order, by one imperfect critic."""
    prompts, rng = prompts_of(config), random.Random(f"cold:{config.seed}")
    for task in make_tasks("train", config.seed + 1_000, count, seen=seen_ids(tasks_of(config))):
        order = list(range(len(task.responses)))
        rng.shuffle(order)
        prompt = prompts.judge(task.query, [r.text for r in task.responses], order, task.reference)
        yield prompt, critique(task, order, rng)


def cold_start(config: Config) -> None:
    folder = config.folder / "cold"
    if config.cold is None or is_done(folder):
        return
    pairs = list(trajectories(config, config.cold.trajectories))
    shape = config.model.scratch
    texts = (text for pair in pairs[:20_000] for text in pair)
    tokenizer = train_tokenizer([*texts, "Yes", "No"] , shape.vocab_size)
    model = new_model(config, len(tokenizer))
    tokens = sum(len(tokenizer.encode(p + c)) for p, c in pairs[:500]) / min(500, len(pairs))
    say(config, "cold", trajectories=len(pairs), parameters=model.num_parameters(), vocabulary=len(tokenizer), tokens_each=tokens)
    finetune(config, "cold", model, tokenizer, pairs, config.cold.sft, folder)
    save(model, tokenizer, folder)
