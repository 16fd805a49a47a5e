"""Checks: what the meta RM is trained on. One judgement each, whether its verdict was correct and, where the generator knows, from where on it errs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial

import torch
from torch.utils.data import Dataset

from .cold import chunks
from .config import Config
from .critic import IMPERFECT, PERFECT, critique
from .rft import draw, trajectory_row
from .run import load_model, load_tokenizer, prompts_of, read_jsonl, say, tasks_of, write_jsonl
from .scores import judged_correct
from .tasks import Task


@dataclass(frozen=True)
class Check:
    """One trajectory to be judged."""

    asked: list[dict] | str
    """The chat, or a text for a scalar head."""
    correct: bool
    weight: float = 1.0
    judgement: str = ""
    """The trajectory, as it stands in the chat."""
    analysis: tuple[int, int, int] | None = None
    """Letters of the judgement: where its analysis begins, where it begins to err (its end: nowhere), where it ends. None: not known."""


@dataclass(frozen=True)
class Row:
    """A check in tokens."""

    ids: list[int]
    correct: float
    weight: float
    marks: list[int]
    """Places of the tokens of the analysis, and of the judgement's last token."""
    so_far: list[float]
    """Of each mark, whether all is right up to it, and at the last one whether the verdict is correct: 0 or 1."""


def analysis_of(task: Task, permutation: list[int], text: str) -> tuple[int, int, int] | None:
    """Check.analysis of a judgement, by what a perfect critic writes of the same responses in the same order. None: it has no analysis."""
    shown = _analysis(text)
    if shown is None:
        return None
    start, said = shown
    _, wanted = _analysis(critique(task, permutation, random.Random(0), PERFECT))
    same = next((at for at, (a, b) in enumerate(zip(said, wanted)) if a != b), min(len(said), len(wanted)))
    errs = start + (len(said) if said == wanted else same)
    return start, errs, start + len(said)


def _analysis(text: str) -> tuple[int, str] | None:
    """Where it begins, and the analysis, up to the line of the scores."""
    before, heading, after = text.partition("Analysis:\n")
    end = after.rfind("\nScores:")
    return (len(before) + len(heading), after[:end]) if heading and end >= 0 else None


def encode_checks(tokenizer, checks: list[Check]) -> list[Row]:
    """Tokens of what is asked, and the labels inside."""
    texts = [
        check.asked if isinstance(check.asked, str) else tokenizer.apply_chat_template(check.asked, add_generation_prompt=True, tokenize=False)
        for check in checks
    ]
    if not texts:
        return []
    marked = any(check.analysis for check in checks)
    # A chat's template holds the special tokens already; a plain text gets them here.
    chats = not isinstance(checks[0].asked, str)
    encoded = tokenizer(texts, add_special_tokens=not chats, return_offsets_mapping=marked)
    rows = []
    for at, (check, ids) in enumerate(zip(checks, encoded["input_ids"])):
        marks = _marks(check, texts[at], encoded["offset_mapping"][at]) if check.analysis else []
        rows.append(Row(ids, float(check.correct), check.weight, [place for place, _ in marks], [float(right) for _, right in marks]))
    return rows


def _marks(check: Check, text: str, offsets: list[tuple[int, int]]) -> list[tuple[int, bool]]:
    """(token, label): those of the analysis, and the last of the judgement."""
    base = text.rindex(check.judgement)
    start, errs, end = (base + at for at in check.analysis)
    marks = [(token, upto <= errs) for token, (_, upto) in enumerate(offsets) if start < upto <= end]
    whole = base + len(check.judgement)
    last = next(token for token, (_, upto) in enumerate(offsets) if upto >= whole)
    return [*marks, (last, check.correct)]


class Checks(Dataset):
    """Rows of at most max_length tokens."""

    def __init__(self, rows: list[Row], max_length: int):
        self.rows = [row for row in rows if len(row.ids) <= max_length]
        self.left_out = len(rows) - len(self.rows)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, at):
        row = self.rows[at]
        return {"input_ids": row.ids, "correct": row.correct, "weight": row.weight, "length": len(row.ids), "marks": row.marks, "so_far": row.so_far}


def collate(pad: int, left: bool = True):
    """Batches of input_ids and attention_mask [B, T], correct and weight [B]; last [B], the place of each row's last token; marks [M, 2] (row, place)
    and so_far [M].

    Padded at the left, every row's last token stands in the last place, and logits are needed there alone. Padded at the right, causal attention keeps
    the padding out of what counts by itself: for logits at many places.
    """
    def together(rows):
        width = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), width), pad)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        marks, last = [], []
        for at, row in enumerate(rows):
            size = len(row["input_ids"])
            start = width - size if left else 0
            ids[at, start : start + size] = torch.tensor(row["input_ids"])
            mask[at, start : start + size] = 1
            marks += [(at, start + place) for place in row["marks"]]
            last.append(start + size - 1)
        labels = {name: torch.tensor([row[name] for row in rows]) for name in ("correct", "weight")}
        so_far = torch.tensor([right for row in rows for right in row["so_far"]])
        marked = {"last": torch.tensor(last), "marks": torch.tensor(marks, dtype=torch.long).reshape(-1, 2), "so_far": so_far}
        return {"input_ids": ids, "attention_mask": mask, **labels, **marked}
    return together


def generated(config: Config, tokenizer) -> list[Row]:
    """One right and one wrong judgement of each of `meta.cold.items` items, by the critics of the cold start: to know which items are easy is worth nothing."""
    made = chunks(config, partial(_judged, config, tokenizer), config.seed + 500_000, config.meta.cold.items)
    return [row for rows in made for row in rows]


def _judged(config: Config, tokenizer, tasks: list[Task], seed: int) -> list[Row]:
    prompts, rng = prompts_of(config), random.Random(f"checks:{seed}")
    checks = []
    for task in tasks:
        order = list(range(len(task.responses)))
        for wanted in (True, False):
            rng.shuffle(order)
            for _ in range(20):
                text = critique(task, order, rng, IMPERFECT)
                if judged_correct(text, task.labels, order) is wanted:
                    checks.append(_check(prompts, task, order, text, wanted))
                    break
    return encode_checks(tokenizer, checks)


def _check(prompts, task: Task, order: list[int], text: str, correct: bool) -> Check:
    asked = prompts.check(task.query, [r.text for r in task.responses], order, text, task.reference)
    return Check(asked, correct, judgement=text, analysis=analysis_of(task, order, text))


def drawn(config: Config) -> list[Check]:
    """Balanced (meta.balance), or with the weights of `grm spct meta-data`."""
    rng = random.Random(f"meta:{config.seed}")
    if config.data.meta_file:
        scalar = config.meta.head == "scalar"
        rows = [
            Check(row["text" if scalar else "prompt"], bool(row["label"]), float(row["weight"]))
            for row in read_jsonl(config.data.meta_file) if row["split"] == "train"
        ]
        say(config, "meta", correct=sum(row.correct for row in rows), incorrect=sum(not row.correct for row in rows))
        rng.shuffle(rows)
        return rows
    splits = tasks_of(config)
    tasks = {task.id: task for task in [*splits["rft"], *splits["meta"]]}
    fresh = config.folder / "meta-trajectories.jsonl"
    if not fresh.exists():
        judge, tokenizer = load_model(config.folder / "rl"), load_tokenizer(config.folder / "rl")
        meta = config.meta
        samples = draw(config, judge, tokenizer, splits["meta"], meta.samples, meta.temperature, config.seed + 7, config.rl.max_tokens)
        write_jsonl(fresh, (trajectory_row(one) for one in samples))
    groups: dict[str, list[dict]] = {}
    for row in [*read_jsonl(config.folder / "rft-trajectories.jsonl"), *read_jsonl(fresh)]:
        if row["judgement"] is not None:
            groups.setdefault(row["id"] if config.meta.balance == "items" else "", []).append(row)
    kept = [row for rows in groups.values() for row in _balanced(rows, rng)]
    counts = [sum(row["correct"] is value for rows in groups.values() for row in rows) for value in (True, False)]
    say(config, "meta", correct=counts[0], incorrect=counts[1], balanced=len(kept))
    rng.shuffle(kept)
    prompts = prompts_of(config)
    return [_check(prompts, tasks[row["id"]], row["permutation"], row["judgement"], row["correct"]) for row in kept]


def _balanced(rows: list[dict], rng: random.Random) -> list[dict]:
    """As many correct as incorrect ones."""
    rng.shuffle(rows)
    right, wrong = [row for row in rows if row["correct"]], [row for row in rows if not row["correct"]]
    size = min(len(right), len(wrong))
    return right[:size] + wrong[:size]
