"""Run: where the stages of one recipe keep things, and how they say how far they are."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Iterable

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback

from .config import Config
from .prompt import Prompts
from .tasks import Task, make_tasks

ROOT = Path(__file__).resolve().parents[3]


def prompts_of(config: Config) -> Prompts:
    return Prompts.read(ROOT / config.templates.grm, ROOT / config.templates.meta)


def is_first() -> bool:
    """Of the processes of a distributed run, the one that writes; the launcher says which by RANK."""
    return int(os.environ.get("RANK", "0")) == 0


def accumulation(batch: int, micro: int | None, setting: str) -> tuple[int, int]:
    """(rows per device and pass, passes per step) so that all devices together take `batch` rows a step; micro absent: one pass.

    `setting`: what the recipe calls `batch`. ValueError when the rows do not come out even.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    at_once = world if micro is None else world * micro
    if at_once < 1 or batch < 1 or batch % at_once:
        expected = f"{world} processes" if micro is None else f"{world} processes times micro_batch {micro}"
        raise ValueError(f"{setting}: came {batch}, expected a multiple of {expected}")
    return (batch // world, 1) if micro is None else (micro, batch // at_once)


def say(config: Config, stage: str, **values: Any) -> None:
    """One line of metrics.jsonl, and the same for people; from the first process alone."""
    if not is_first():
        return
    config.folder.mkdir(parents=True, exist_ok=True)
    line = {"stage": stage, "at": round(time.time(), 1), **values}
    with (config.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(stage, " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items()), flush=True)


class Progress(TrainerCallback):
    """Every log of a Trainer goes to metrics.jsonl, with the time left."""

    def __init__(self, config: Config, stage: str):
        self.config, self.stage, self.began, self.first = config, stage, time.time(), 0

    def on_train_begin(self, args, state, control, **kwargs):
        # What went before, be it tokenizing or an earlier run's steps, says nothing of the pace.
        self.began, self.first = time.time(), state.global_step

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not state.is_world_process_zero or not logs or state.max_steps <= 0 or "train_runtime" in logs:
            return
        spent = time.time() - self.began
        left = spent / max(1, state.global_step - self.first) * (state.max_steps - state.global_step)
        kept = {k: v for k, v in logs.items() if isinstance(v, (int, float))}
        say(self.config, self.stage, step=state.global_step, of=state.max_steps, eta_s=round(left), **kept)


def write_jsonl(path: Path, rows: Iterable[dict]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    count = 0
    with part.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    part.replace(path)
    return count


def read_jsonl(path: Path | str) -> list[dict]:
    with Path(path).open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def tasks_of(config: Config) -> dict[str, list[Task]]:
    """All splits of the generator. No item is in two of them: a test item is made first and then left out everywhere else."""
    seen: set[str] = set()
    data, seed = config.data, config.seed
    held_out = make_tasks("test", seed, data.held_out_items, held_out=True, seen=seen) if data.held_out_items else []
    test = make_tasks("test", seed, data.test_items, seen=seen)
    validation = make_tasks("validation", seed, data.validation_items, seen=seen)
    train = make_tasks("train", seed, data.rft_items + data.rl_items + config.meta.items, seen=seen)
    rl_from, meta_from = data.rft_items, data.rft_items + data.rl_items
    return {
        "test": test,
        "held_out": held_out,
        "validation": validation,
        "rft": train[:rl_from],
        "rl": train[rl_from:meta_from],
        "meta": train[meta_from:],
    }


def seen_ids(tasks: dict[str, list[Task]]) -> set[str]:
    return {task.id for split in tasks.values() for task in split}


def new_model(config: Config, vocabulary: int) -> LlamaForCausalLM:
    shape = config.model.scratch
    if shape is None:
        raise ValueError("model.scratch: missing, and no model.path is given")
    torch.manual_seed(config.seed)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=vocabulary, hidden_size=shape.hidden_size, intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_hidden_layers, num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_attention_heads, max_position_embeddings=shape.max_position_embeddings,
        tie_word_embeddings=True, rms_norm_eps=1e-5, initializer_range=shape.hidden_size**-0.5, attention_bias=True,
        pad_token_id=0, bos_token_id=None, eos_token_id=1,
    ))
    attend_from_the_start(model)
    return model


@torch.no_grad()
def attend_from_the_start(model: LlamaForCausalLM) -> None:
    """Attention weights that look for like tokens and pass them on, as trained ones do (mimetic initialisation, arXiv 2305.09828),
    and in the first layer heads that look one, two or three tokens back.

    Judging is mostly finding again what stands elsewhere in the prompt. From plain noise a model of this size finds that out after millions of tokens.
    """
    config = model.config
    heads, width = config.num_attention_heads, config.hidden_size
    dim = width // heads
    back = [1, 1, 1, 2, 3]
    inverse = 1.0 / config.rope_parameters["rope_theta"] ** (torch.arange(0, dim, 2).float() / dim)
    for at, layer in enumerate(model.model.layers):
        attention = layer.self_attn
        values, _ = torch.linalg.qr(torch.randn(width, width))
        likes, _ = torch.linalg.qr(torch.randn(width, width))
        attention.v_proj.weight.copy_(values)
        attention.o_proj.weight.copy_(0.5 * values.T)
        attention.q_proj.weight.copy_(0.15 * likes * heads**0.5)
        attention.k_proj.weight.copy_(attention.q_proj.weight)
        if at > 0:
            continue
        # The key's bias is a constant; the query's is the same, turned so that rotary positions make them meet at that distance.
        for head, distance in zip(range(heads), back):
            rows = slice(head * dim, (head + 1) * dim)
            cos, sin = (distance * inverse).cos(), (distance * inverse).sin()
            attention.k_proj.bias[rows] = 1.7
            attention.q_proj.bias[rows] = 1.7 * torch.cat([cos + sin, cos - sin])
            attention.q_proj.weight[rows] *= 0.1
            attention.k_proj.weight[rows] *= 0.1


def load_model(folder: Path | str):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def on_device(config: Config, model):
    """The model where samples are drawn from it."""
    return model.to("cpu" if config.cpu else "cuda")


def load_tokenizer(folder: Path | str):
    return AutoTokenizer.from_pretrained(folder)


def is_done(folder: Path) -> bool:
    """A stage is done when its model is whole: save() writes the mark last."""
    return (folder / "done").exists()


def skips(folder: Path) -> bool:
    """is_done, and says so."""
    if done := is_done(folder):
        if is_first():
            print(f"{folder.name} skipped: done", flush=True)
    return done


def save(trainer: Trainer, tokenizer, folder: Path) -> None:
    """The trained model, the tokenizer and the mark. Every process calls it: the Trainer gathers what the processes hold, the first one writes.

    RuntimeError when no weights were written.
    """
    first = trainer.is_world_process_zero()
    if first and folder.exists():
        # Without the mark these are of a run that was interrupted here.
        for old in weights_in(folder):
            old.unlink()
    trainer.accelerator.wait_for_everyone()
    trainer.save_model(str(folder))
    trainer.accelerator.wait_for_everyone()
    if first:
        if not weights_in(folder):
            raise RuntimeError(
                f"{folder}: no weights were written. With ZeRO-3 accelerate's configuration needs zero3_save_16bit_model: true (DeepSpeed: "
                "stage3_gather_16bit_weights_on_model_save), with FSDP fsdp_state_dict_type: FULL_STATE_DICT. The checkpoints are kept."
            )
        (folder / "training_args.bin").unlink(missing_ok=True)
        tokenizer.save_pretrained(folder)
        (folder / "done").write_text("")
    trainer.accelerator.wait_for_everyone()


def weights_in(folder: Path) -> list[Path]:
    return [*folder.glob("*.safetensors*"), *folder.glob("pytorch_model*.bin*")]
