"""Judge: one trained GRM as the evaluation asks it, and the meta RM over what it wrote."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch

from .config import Config
from .meta import log_odds, yes_no_tokens
from .run import load_model, load_tokenizer, on_device, prompts_of, read_jsonl, write_jsonl
from .sampler import Sampler, encode_all, sample_texts
from .scores import read_scores, unshuffle
from .tasks import Task
from .votes import Scores

ORDERS = 8
"""Different orders of the responses among the samples of an item; sample j stands in order j mod 8."""


@dataclass
class Draws:
    """Samples of one item, and the meta reward of each: minus infinity for an invalid one."""

    task: Task
    scores: list[Scores]
    orders: list[list[int]]
    texts: list[str | None]
    rewards: list[float]


def balanced_orders(n: int, rng: random.Random) -> list[list[int]]:
    """8 orders in which each response stands in each place equally often, as far as 8 divides."""
    orders: list[list[int]] = []
    while len(orders) < ORDERS:
        base = list(range(n))
        rng.shuffle(base)
        orders += [base[turn:] + base[:turn] for turn in range(n)]
    return orders[:ORDERS]


def sampler_of(config: Config, folder: Path) -> Sampler:
    """Of a trained model, on the device that the recipe runs on."""
    return Sampler(on_device(config, load_model(folder)), torch.bfloat16 if config.bf16 else torch.float32)


class Judge:
    """One trained GRM."""

    def __init__(self, config: Config, folder: Path):
        self.config = config
        self.tokenizer = load_tokenizer(folder)
        self.sampler = sampler_of(config, folder)
        self.prompts = prompts_of(config)

    @staticmethod
    def scores(text: str | None, order: list[int]) -> Scores:
        """In the item's order; None = invalid."""
        shown = None if text is None else read_scores(text, len(order))
        return None if shown is None else unshuffle(shown, order)

    def generate(self, asked: list[tuple[Task, list[int]]], k: int, temperature: float, seed: int, forced: str = "") -> list[list[str | None]]:
        chats = [self.prompts.judge(task.query, [r.text for r in task.responses], order, task.reference) for task, order in asked]
        return sample_texts(self.sampler, self.tokenizer, chats, k, temperature, self.config.evaluation.max_tokens, seed, forced=forced)

    def greedy(self, tasks: list[Task], seed: int, reverse: bool = False, forced: str = "") -> list[Scores]:
        """One verdict per item; `seed` decides the order in which its responses are shown."""
        rng = random.Random(f"greedy:{seed}")
        asked = []
        for task in tasks:
            order = list(range(len(task.responses)))
            rng.shuffle(order)
            asked.append((task, order[::-1] if reverse else order))
        return [self.scores(text, order) for (_, order), (text,) in zip(asked, self.generate(asked, 1, 0, seed, forced))]

    def draws(self, tasks: list[Task], seed: int, k: int) -> list[Draws]:
        rng = random.Random(f"orders:{seed}")
        orders = [balanced_orders(len(task.responses), rng) for task in tasks]
        asked = [(task, order) for task, of in zip(tasks, orders) for order in of]
        per_order = max(1, k // ORDERS)
        texts = self.generate(asked, per_order, self.config.evaluation.temperature, seed)
        result = []
        for at, task in enumerate(tasks):
            mine = texts[at * ORDERS : (at + 1) * ORDERS]
            interleaved = [(mine[o][draw], orders[at][o]) for draw in range(per_order) for o in range(ORDERS)][:k]
            result.append(Draws(task, [self.scores(*one) for one in interleaved], [o for _, o in interleaved], [t for t, _ in interleaved], []))
        return result


def rank(config: Config, folder: Path, draws: list[Draws]) -> None:
    """Puts a meta reward on every sample."""
    tokenizer, prompts = load_tokenizer(folder), prompts_of(config)
    sampler = sampler_of(config, folder)
    answers = yes_no_tokens(tokenizer)
    places: list[tuple[int, int]] = []
    chats: list[list[dict]] = []
    for item, draw in enumerate(draws):
        draw.rewards = [float("-inf")] * len(draw.scores)
        for at, (text, order) in enumerate(zip(draw.texts, draw.orders)):
            if draw.scores[at] is None:
                continue
            task = draw.task
            chats.append(prompts.check(task.query, [r.text for r in task.responses], order, text, task.reference))
            places.append((item, at))
    asked = sorted([(*place, ids) for place, ids in zip(places, encode_all(tokenizer, chats))], key=lambda one: len(one[2]))
    for start in range(0, len(asked), 256):
        batch = asked[start : start + 256]
        logits, *_ = sampler.prefill([ids for *_, ids in batch])
        for (item, at, _), reward in zip(batch, log_odds(logits, answers).tolist()):
            draws[item].rewards[at] = reward


def ranked_draws(config: Config, tasks: list[Task], seed: int, k: int) -> list[Draws]:
    """k ranked samples of the RL model per item, kept in evaluation/draws-SEED.jsonl: an evaluation that was interrupted goes on with them."""
    path = config.folder / "evaluation" / f"draws-{seed}.jsonl"
    if path.exists():
        rows = {row["id"]: row for row in read_jsonl(path)}
        if all(len(rows.get(task.id, {"texts": []})["texts"]) == k for task in tasks):
            return [
                Draws(task, row["scores"], row["orders"], row["texts"], [float("-inf") if r is None else r for r in row["rewards"]])
                for task in tasks for row in [rows[task.id]]
            ]
    draws = Judge(config, config.folder / "rl").draws(tasks, seed, k)
    rank(config, config.folder / "meta", draws)
    write_jsonl(path, (
        {"id": d.task.id, "labels": d.task.labels, "scores": d.scores, "orders": d.orders, "texts": d.texts, "rewards": [None if r == float("-inf") else r for r in d.rewards]}
        for d in draws
    ))
    return draws
