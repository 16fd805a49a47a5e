"""Supervised fine-tuning with TRL, for the cold start and for RFT: loss on the completion alone unless told otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer

from .config import Config, Sft
from .run import Progress, accumulation, read_jsonl, say

Rows = list[tuple[list[dict], str]]
"""The messages that were asked, and the completion."""

IGNORED = -100
"""The label of a token that the loss leaves out."""


@dataclass
class Encoded:
    """Rows of tokens, one after the other: a cold start has tens of millions of them."""

    ids: np.ndarray
    """int32, the tokens of all rows."""
    labels: np.ndarray
    """int32, the same, or IGNORED."""
    lengths: np.ndarray
    """Tokens of each row."""
    left_out: int
    """Rows that were longer than the recipe's max_length: they would lose their end, where the scores stand."""

    def __len__(self) -> int:
        return len(self.lengths)

    @staticmethod
    def joined(parts: list["Encoded"]) -> "Encoded":
        of = lambda name: np.concatenate([getattr(part, name) for part in parts])
        return Encoded(of("ids"), of("labels"), of("lengths"), sum(part.left_out for part in parts))

    def dataset(self, batch: int, seed: int) -> Dataset:
        """Columns input_ids and labels, in an order in which batches hold rows of like length and come at random.

        transformers has a sampler for that; it asks for the lengths one by one, which takes longer than the training does where a GPU trains a nano model.
        """
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self))
        several = 50 * batch
        order = np.concatenate([part[np.argsort(self.lengths[part], kind="stable")] for part in np.split(order, range(several, len(order), several))])
        groups = np.split(order, range(batch, len(order), batch))
        last = [groups.pop()] if len(groups[-1]) < batch else []
        order = np.concatenate([*[groups[at] for at in rng.permutation(len(groups))], *last])
        starts = np.concatenate([[0], np.cumsum(self.lengths)])
        places = np.concatenate([np.arange(starts[row], starts[row + 1]) for row in order])
        offsets = np.concatenate([[0], np.cumsum(self.lengths[order])])
        column = lambda values: pa.LargeListArray.from_arrays(offsets, values[places])
        return Dataset(pa.table({"input_ids": column(self.ids), "labels": column(self.labels)}))


def encode_rows(tokenizer, rows: Rows, sft: Sft) -> Encoded:
    """By the tokenizer's chat template, as TRL does it: the prompt ends where the assistant begins to speak."""
    chats = [[*asked, {"role": "assistant", "content": completion}] for asked, completion in rows]
    whole = tokenizer.apply_chat_template(chats, return_dict=False) if chats else []
    begun = [] if sft.whole or not chats else tokenizer.apply_chat_template([asked for asked, _ in rows], add_generation_prompt=True, return_dict=False)
    ids, labels, lengths = [], [], []
    for at, tokens in enumerate(whole):
        if len(tokens) > sft.max_length:
            continue
        row = np.asarray(tokens, dtype=np.int32)
        label = row.copy()
        if not sft.whole:
            label[: len(begun[at])] = IGNORED
        ids.append(row)
        labels.append(label)
        lengths.append(len(row))
    none = [np.zeros(0, dtype=np.int32)]
    return Encoded(np.concatenate(ids or none), np.concatenate(labels or none), np.asarray(lengths, dtype=np.int64), len(rows) - len(lengths))


def chat_rows(path: Path | str) -> Rows:
    """Of a chat-format JSONL file: everything before the last message, and that one."""
    return [(row["messages"][:-1], row["messages"][-1]["content"]) for row in read_jsonl(path)]


def sft_arguments(config: Config, setting: str, tokenizer, sft: Sft, folder: Path) -> SFTConfig:
    """To be made before the model is loaded: with ZeRO-3 it is loaded in shards only once these exist. `setting`: what the recipe calls `sft`."""
    micro, passes = accumulation(sft.batch, sft.micro_batch, f"{setting}.batch")
    return SFTConfig(
        output_dir=str(folder / "checkpoints"), per_device_train_batch_size=micro, gradient_accumulation_steps=passes,
        learning_rate=sft.learning_rate, lr_scheduler_type=sft.schedule, warmup_steps=sft.warmup_steps, num_train_epochs=sft.epochs,
        max_steps=sft.steps, weight_decay=0.01, adam_beta2=0.98, max_length=sft.max_length, completion_only_loss=not sft.whole, packing=False,
        dataset_kwargs={"skip_prepare_dataset": True}, train_sampling_strategy="sequential",
        bf16=config.bf16, use_cpu=config.cpu, seed=config.seed, logging_steps=20,
        save_strategy="steps", save_steps=200, save_total_limit=1, report_to="none", disable_tqdm=True, eos_token=tokenizer.eos_token,
        gradient_checkpointing=config.saves_memory, dataloader_pin_memory=not config.cpu, dataloader_num_workers=0 if config.cpu else 4,
    )


def finetune(config: Config, stage: str, model, tokenizer, rows: Rows, sft: Sft, arguments: SFTConfig) -> SFTTrainer:
    """Goes on from the last checkpoint. Rows that are too long are left out and counted; ValueError when none is left."""
    return finetune_encoded(config, stage, model, tokenizer, encode_rows(tokenizer, rows, sft), sft, arguments)


def finetune_encoded(config: Config, stage: str, model, tokenizer, rows: Encoded, sft: Sft, arguments: SFTConfig) -> SFTTrainer:
    """As finetune(), of rows that are tokens already."""
    if rows.left_out:
        say(config, stage, rows=len(rows) + rows.left_out, too_long=rows.left_out)
    if not len(rows):
        raise ValueError(f"{stage}: every row is longer than max_length {sft.max_length} tokens")
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=rows.dataset(sft.batch, config.seed), processing_class=tokenizer,
        callbacks=[Progress(config, stage)],
    )
    checkpoints = Path(arguments.output_dir)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(checkpoints)) if checkpoints.exists() else None)
    return trainer
