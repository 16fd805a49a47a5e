"""Supervised fine-tuning with TRL, for the cold start and for RFT: loss on the completion alone unless told otherwise."""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer

from .config import Config, Sft
from .run import Progress, accumulation, read_jsonl, say

Rows = list[tuple[list[dict], str]]
"""The messages that were asked, and the completion."""


def conversations(rows: Rows) -> Dataset:
    """Rows as TRL reads them."""
    return Dataset.from_dict({
        "prompt": [asked for asked, _ in rows],
        "completion": [[{"role": "assistant", "content": completion}] for _, completion in rows],
    })


def chat_rows(path: Path | str) -> Rows:
    """Of a chat-format JSONL file: everything before the last message, and that one."""
    return [(row["messages"][:-1], row["messages"][-1]["content"]) for row in read_jsonl(path)]


def within(tokenizer, rows: Rows, max_length: int) -> Rows:
    """The rows of at most `max_length` tokens, prompt and completion together: a longer one would lose its end, where the scores stand."""
    def length(asked: list[dict], completion: str) -> int:
        return len(tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": completion}], return_dict=False))
    return [row for row in rows if length(*row) <= max_length]


def sft_arguments(config: Config, setting: str, tokenizer, sft: Sft, folder: Path) -> SFTConfig:
    """To be made before the model is loaded: with ZeRO-3 it is loaded in shards only once these exist. `setting`: what the recipe calls `sft`."""
    micro, passes = accumulation(sft.batch, sft.micro_batch, f"{setting}.batch")
    return SFTConfig(
        output_dir=str(folder / "checkpoints"), per_device_train_batch_size=micro, gradient_accumulation_steps=passes,
        learning_rate=sft.learning_rate, lr_scheduler_type=sft.schedule, warmup_steps=sft.warmup_steps, num_train_epochs=sft.epochs,
        max_steps=sft.steps, weight_decay=0.01, adam_beta2=0.98, max_length=sft.max_length, completion_only_loss=not sft.whole, packing=False,
        train_sampling_strategy="group_by_length", bf16=config.bf16, use_cpu=config.cpu, seed=config.seed, logging_steps=20,
        save_strategy="steps", save_steps=200, save_total_limit=1, report_to="none", disable_tqdm=True, eos_token=tokenizer.eos_token,
        gradient_checkpointing=not config.cpu, dataloader_pin_memory=not config.cpu,
    )


def finetune(config: Config, stage: str, model, tokenizer, rows: Rows, sft: Sft, arguments: SFTConfig) -> SFTTrainer:
    """Goes on from the last checkpoint. Rows that are too long are left out and counted; ValueError when none is left."""
    fitting = within(tokenizer, rows, sft.max_length)
    if len(fitting) < len(rows):
        say(config, stage, rows=len(rows), too_long=len(rows) - len(fitting))
    if not fitting:
        raise ValueError(f"{stage}: every row is longer than max_length {sft.max_length} tokens")
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=conversations(fitting), processing_class=tokenizer, callbacks=[Progress(config, stage)]
    )
    checkpoints = Path(arguments.output_dir)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(checkpoints)) if checkpoints.exists() else None)
    return trainer
