"""The meta RM: a pointwise classifier of trajectories, trained with binary cross-entropy on "was this verdict correct".

yes_no: a causal model; its logit is the log-odds of Yes against No as the next token. scalar: a sequence classifier with one output.
Where the generator knows from where on a judgement errs, the log-odds at each token of its analysis is trained too, on "is all right so far": one bit for
a whole judgement teaches a nano model nothing.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from .checks import Checks, Row, collate, drawn, encode_checks, generated
from .config import Config, Training
from .run import Progress, accumulation, load_model, load_tokenizer, save, say, skips


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


class MetaTrainer(Trainer):
    """One logit a trajectory, binary cross-entropy; and the same at its labelled tokens, weighed by `steps_weight`."""

    def __init__(self, *args, answers: tuple[list[int], list[int]] | None, steps_weight: float = 0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.answers = answers
        self.steps_weight = steps_weight

    def logits(self, model, inputs) -> tuple[torch.Tensor, torch.Tensor | None]:
        """([B], [M] of the marks); the model is called as a whole, since what distributes it (DDP, FSDP, ZeRO-3) hooks into that call."""
        if self.steps_weight > 0:
            # Padded at the right: see collate().
            odds = log_odds(model(input_ids=inputs["input_ids"]).logits.float(), self.answers)
            rows, places = inputs["marks"].unbind(1)
            return odds[torch.arange(len(odds), device=odds.device), inputs["last"]], odds[rows, places]
        mask = inputs["attention_mask"]
        asked = {"input_ids": inputs["input_ids"], "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
        if self.answers is None:
            return model(**asked).logits[:, 0].float(), None
        return log_odds(model(**asked, logits_to_keep=1).logits[:, -1].float(), self.answers), None

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        logits, marked = self.logits(model, inputs)
        loss = F.binary_cross_entropy_with_logits(logits, inputs["correct"].float(), inputs["weight"].float())
        if marked is not None and len(marked):
            loss = loss + self.steps_weight * F.binary_cross_entropy_with_logits(marked, inputs["so_far"].float())
        return (loss, {"logits": logits}) if return_outputs else loss


def scalar_model(start: str, tokenizer, seed: int):
    """A sequence classifier with one output. It finds a row's last token by the padding token, so it has to know one; the tokenizer gets one too."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    torch.manual_seed(seed)  # of the new head
    model = AutoModelForSequenceClassification.from_pretrained(start, num_labels=1, dtype=torch.float32)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model


def train_meta(config: Config) -> None:
    """On drawn trajectories, and before them on generated ones where the recipe has `meta.cold`."""
    folder, meta = config.folder / "meta", config.meta
    if skips(folder):
        return
    if meta.head == "scalar" and (meta.steps_weight > 0 or meta.cold):
        raise ValueError("meta.steps_weight, meta.cold: for head yes_no alone: a scalar head has one output a judgement")
    start = config.model.meta_path or str(config.folder / "rft")
    if meta.cold:
        if not skips(config.folder / "meta-cold"):
            _train(config, "meta-cold", start, meta.cold, lambda tokenizer: generated(config, tokenizer))
        start = str(config.folder / "meta-cold")
    _train(config, "meta", start, meta, lambda tokenizer: encode_checks(tokenizer, drawn(config)))


def _train(config: Config, stage: str, start: str, how: Training, rows_of) -> None:
    folder, meta = config.folder / stage, config.meta
    tokenizer = load_tokenizer(start)
    scalar = meta.head == "scalar"
    micro, passes = accumulation(how.batch, how.micro_batch, f"{stage.replace('-', '.')}.batch")
    arguments = TrainingArguments(
        output_dir=str(folder / "checkpoints"), per_device_train_batch_size=micro, gradient_accumulation_steps=passes,
        learning_rate=how.learning_rate, lr_scheduler_type="cosine", warmup_steps=how.warmup_steps, num_train_epochs=how.epochs, max_steps=how.steps,
        weight_decay=0.01, adam_beta2=0.98, train_sampling_strategy="group_by_length", length_column_name="length", remove_unused_columns=False,
        bf16=config.bf16, use_cpu=config.cpu, seed=config.seed, logging_steps=20, save_strategy="steps", save_steps=200, save_total_limit=1,
        report_to="none", disable_tqdm=True, gradient_checkpointing=config.saves_memory, dataloader_pin_memory=not config.cpu,
        dataloader_num_workers=0 if config.cpu else 4,
    )
    model = scalar_model(start, tokenizer, config.seed) if scalar else load_model(start)
    rows: list[Row] = rows_of(tokenizer)
    data = Checks(rows, meta.max_length)
    say(config, stage, rows=len(rows), too_long=data.left_out)
    if len(data) == 0:
        raise ValueError(f"{stage}: no trajectory to train on, or every one is longer than meta.max_length {meta.max_length} tokens")
    trainer = MetaTrainer(
        model=model, args=arguments, train_dataset=data, data_collator=collate(tokenizer.pad_token_id or 0, left=meta.steps_weight == 0),
        answers=None if scalar else yes_no_tokens(tokenizer), steps_weight=meta.steps_weight, callbacks=[Progress(config, stage)],
    )
    checkpoints = Path(arguments.output_dir)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(checkpoints)) if checkpoints.exists() else None)
    save(trainer, tokenizer, folder)
