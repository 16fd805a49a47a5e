"""Supervised fine-tuning with TRL, for the cold start and for RFT: loss on the completion alone unless told otherwise."""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer

from .config import Config, Sft
from .run import Progress, read_jsonl


def conversations(rows: list[tuple[list[dict], str]]) -> Dataset:
    """Rows of the messages that were asked and the completion, as TRL reads them."""
    return Dataset.from_dict({
        "prompt": [asked for asked, _ in rows],
        "completion": [[{"role": "assistant", "content": completion}] for _, completion in rows],
    })


def chat_rows(path: str) -> list[tuple[list[dict], str]]:
    """Of a chat-format JSONL file: everything before the last message, and that one."""
    return [(row["messages"][:-1], row["messages"][-1]["content"]) for row in read_jsonl(path)]


def finetune(config: Config, stage: str, model, tokenizer, data: Dataset, sft: Sft, folder: Path) -> None:
    """Goes on from the last checkpoint in `folder`."""
    micro = sft.micro_batch or sft.batch
    arguments = SFTConfig(
        output_dir=str(folder / "checkpoints"), per_device_train_batch_size=micro, gradient_accumulation_steps=sft.batch // micro,
        learning_rate=sft.learning_rate, lr_scheduler_type=sft.schedule, warmup_steps=sft.warmup_steps, num_train_epochs=sft.epochs,
        max_steps=sft.steps, weight_decay=0.01, adam_beta2=0.98, max_length=sft.max_length, completion_only_loss=not sft.whole, packing=False,
        train_sampling_strategy="group_by_length", bf16=config.bf16, use_cpu=config.cpu, seed=config.seed, logging_steps=20,
        save_strategy="steps", save_steps=200, save_total_limit=1, report_to="none", disable_tqdm=True, eos_token=tokenizer.eos_token,
        gradient_checkpointing=not config.cpu, dataloader_pin_memory=not config.cpu,
    )
    trainer = SFTTrainer(model=model, args=arguments, train_dataset=data, processing_class=tokenizer, callbacks=[Progress(config, stage)])
    checkpoints = folder / "checkpoints"
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(checkpoints)) if checkpoints.exists() else None)
