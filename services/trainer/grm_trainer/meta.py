"""The meta RM: a pointwise classifier of trajectories, trained with binary cross-entropy on "was this verdict correct".

yes_no: a causal model; its logit is the log-odds of Yes against No as the next token. scalar: a sequence classifier with one output.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.data import Dataset
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from .config import Config
from .rft import draw, trajectory_row
from .run import Progress, accumulation, load_model, load_tokenizer, prompts_of, read_jsonl, save, say, skips, tasks_of, write_jsonl
from .sampler import encode


def yes_no_tokens(tokenizer) -> tuple[list[int], list[int]]:
    """The tokens by which either answer may begin, with and without a space: those that the cluster reads (src/engine/llama-yesno.ts)."""
    def first(word: str) -> list[int]:
        return list(dict.fromkeys(tokenizer.encode(text, add_special_tokens=False)[0] for text in (word, f" {word}")))
    yes, no = first("Yes"), first("No")
    apart = [t for t in yes if t not in no], [t for t in no if t not in yes]
    if not all(apart):
        raise ValueError("the vocabulary begins Yes and No with the same token")
    return apart


def log_odds(logits: torch.Tensor, answers: tuple[list[int], list[int]]) -> torch.Tensor:
    """ln P(any yes token) - ln P(any no token); logits: [..., vocabulary]."""
    yes, no = answers
    return logits[..., yes].logsumexp(-1) - logits[..., no].logsumexp(-1)


@dataclass(frozen=True)
class Check:
    """One trajectory to be judged."""

    asked: list[dict] | str
    """The chat, or a text for a scalar head."""
    correct: bool
    weight: float = 1.0


class Checks(Dataset):
    """Token ids of what the meta RM is asked, whether the verdict was correct, and how much the row weighs."""

    def __init__(self, tokenizer, rows: list["Check"], max_length: int):
        encoded = [
            (tokenizer.encode(row.asked) if isinstance(row.asked, str) else encode(tokenizer, row.asked), float(row.correct), row.weight)
            for row in rows
        ]
        self.rows = [row for row in encoded if len(row[0]) <= max_length]
        self.left_out = len(encoded) - len(self.rows)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, at):
        ids, correct, weight = self.rows[at]
        return {"input_ids": ids, "correct": correct, "weight": weight, "length": len(ids)}


def collate(pad: int):
    """Batches padded at the left, so that every row's last token stands in the last place: input_ids and attention_mask [B, T], correct and weight [B]."""
    def together(rows):
        width = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), width), pad)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for at, row in enumerate(rows):
            start = width - len(row["input_ids"])
            ids[at, start:] = torch.tensor(row["input_ids"])
            mask[at, start:] = 1
        labels = {name: torch.tensor([row[name] for row in rows]) for name in ("correct", "weight")}
        return {"input_ids": ids, "attention_mask": mask, **labels}
    return together


class MetaTrainer(Trainer):
    """One logit a trajectory, binary cross-entropy."""

    def __init__(self, *args, answers: tuple[list[int], list[int]] | None, **kwargs):
        super().__init__(*args, **kwargs)
        self.answers = answers

    def logits(self, model, inputs) -> torch.Tensor:
        """[B]; the model is called as a whole, since what distributes it (DDP, FSDP, ZeRO-3) hooks into that call."""
        mask = inputs["attention_mask"]
        asked = {"input_ids": inputs["input_ids"], "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
        if self.answers is None:
            return model(**asked).logits[:, 0].float()
        return log_odds(model(**asked, logits_to_keep=1).logits[:, -1].float(), self.answers)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        logits = self.logits(model, inputs)
        loss = F.binary_cross_entropy_with_logits(logits, inputs["correct"].float(), inputs["weight"].float())
        return (loss, {"logits": logits}) if return_outputs else loss


def checks(config: Config) -> list[Check]:
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
    fresh = config.folder / "meta-trajectories.jsonl"
    if not fresh.exists():
        judge, tokenizer = load_model(config.folder / "rl"), load_tokenizer(config.folder / "rl")
        meta = config.meta
        drawn = draw(config, judge, tokenizer, tasks_of(config)["meta"], meta.samples, meta.temperature, config.seed + 7, config.rl.max_tokens)
        write_jsonl(fresh, (trajectory_row(one) for one in drawn))
    prompts = prompts_of(config)
    groups: dict[str, list[Check]] = {}
    for t in [*read_jsonl(config.folder / "rft-trajectories.jsonl"), *read_jsonl(fresh)]:
        if t["judgement"] is not None:
            asked = prompts.check(t["query"], t["responses"], t["permutation"], t["judgement"], t.get("reference"))
            groups.setdefault(t["id"] if config.meta.balance == "items" else "", []).append(Check(asked, t["correct"]))
    kept = [row for rows in groups.values() for row in _balanced(rows, rng)]
    counts = [sum(row.correct is value for rows in groups.values() for row in rows) for value in (True, False)]
    say(config, "meta", correct=counts[0], incorrect=counts[1], balanced=len(kept))
    rng.shuffle(kept)
    return kept


def _balanced(rows: list[Check], rng: random.Random) -> list[Check]:
    """As many correct as incorrect ones."""
    rng.shuffle(rows)
    right, wrong = [row for row in rows if row.correct], [row for row in rows if not row.correct]
    size = min(len(right), len(wrong))
    return right[:size] + wrong[:size]


def scalar_model(start: str, tokenizer, seed: int):
    """A sequence classifier with one output. It finds a row's last token by the padding token, so it has to know one; the tokenizer gets one too."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    torch.manual_seed(seed)  # of the new head
    model = AutoModelForSequenceClassification.from_pretrained(start, num_labels=1, dtype=torch.float32)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model


def train_meta(config: Config) -> None:
    folder = config.folder / "meta"
    if skips(folder):
        return
    start = config.model.meta_path or str(config.folder / "rft")
    tokenizer = load_tokenizer(start)
    scalar = config.meta.head == "scalar"
    meta = config.meta
    micro, passes = accumulation(meta.batch, meta.micro_batch, "meta.batch")
    arguments = TrainingArguments(
        output_dir=str(folder / "checkpoints"), per_device_train_batch_size=micro, gradient_accumulation_steps=passes,
        learning_rate=meta.learning_rate, lr_scheduler_type="cosine", warmup_steps=20, num_train_epochs=meta.epochs, max_steps=meta.steps,
        weight_decay=0.01, adam_beta2=0.98, train_sampling_strategy="group_by_length", length_column_name="length", remove_unused_columns=False,
        bf16=config.bf16, use_cpu=config.cpu, seed=config.seed, logging_steps=20, save_strategy="steps", save_steps=200, save_total_limit=1,
        report_to="none", disable_tqdm=True, gradient_checkpointing=not config.cpu, dataloader_pin_memory=not config.cpu,
    )
    model = scalar_model(start, tokenizer, config.seed) if scalar else load_model(start)
    data = Checks(tokenizer, checks(config), meta.max_length)
    if data.left_out:
        say(config, "meta", rows=len(data) + data.left_out, too_long=data.left_out)
    if len(data) == 0:
        raise ValueError(f"meta: no trajectory to train on, or every one is longer than meta.max_length {meta.max_length} tokens")
    trainer = MetaTrainer(
        model=model, args=arguments, train_dataset=data, data_collator=collate(tokenizer.pad_token_id or 0),
        answers=None if scalar else yes_no_tokens(tokenizer), callbacks=[Progress(config, "meta")],
    )
    checkpoints = Path(arguments.output_dir)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(checkpoints)) if checkpoints.exists() else None)
    save(trainer, tokenizer, folder)
