"""Rule-based online RL: GRPO with TRL; +1 for a correct verdict, else -1; no reward for form."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Callable

import torch
from datasets import Dataset
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOConfig, GRPOTrainer

from .config import Config
from .run import Progress, accumulation, load_model, load_tokenizer, prompts_of, read_jsonl, save, say, skips, tasks_of
from .sampler import Sampler, encode_all
from .scores import judged_correct


def reward_of(ends: set[int]) -> Callable[..., list[float]]:
    """TRL's reward function, +1 or -1 a completion. What is no verdict is not correct: -1, and so is a completion whose last token is none of `ends`:
    the token limit cut it."""
    def rule_reward(completions, completion_ids, labels, permutation, **_) -> list[float]:
        texts = [c[-1]["content"] if isinstance(c, list) else c for c in completions]
        ended = [len(ids) > 0 and int(ids[-1]) in ends for ids in completion_ids]
        return [1.0 if whole and judged_correct(*one) else -1.0 for whole, *one in zip(ended, texts, labels, permutation)]
    return rule_reward


def end_tokens(model, tokenizer) -> set[int]:
    """All that end a completion: the tokenizer's own, and those of the model's generation settings, as TRL has it."""
    ends = model.generation_config.eos_token_id
    return {tokenizer.eos_token_id, *([] if ends is None else [ends] if isinstance(ends, int) else ends)}


def labels_of(item: dict, n: int) -> list[float] | None:
    """`labels`, or from `best` labels that say the same; None where they name no one best response, or no score of a single one.

    ValueError when they do not fit n responses.
    """
    labels, best = item.get("labels"), item.get("best")
    if labels is None:
        if best is None or n == 1:
            return None
        if best not in range(n):
            raise ValueError(f"best: came {best!r}, expected an index of {n} responses")
        return [int(i == best) for i in range(n)]
    if len(labels) != n:
        raise ValueError(f"labels: came {len(labels)}, expected {n}: one per response")
    return labels if n == 1 or labels.count(max(labels)) == 1 else None


def rendered(item: dict) -> dict:
    """A row of which the cluster has filled in the prompt: taken as it is."""
    n, order = item["n"], item["permutation"]
    if sorted(order) != list(range(n)):
        raise ValueError(f"permutation: came {order}, expected each of 0..{n - 1} once")
    return {"prompt": item["prompt"], "labels": labels_of(item, n), "permutation": order}


def dataset(config: Config) -> Dataset:
    """Columns `prompt` (messages), `labels` and `permutation`. Items whose labels say nothing are left out and counted; ValueError names a wrong row."""
    prompts, rng = prompts_of(config), random.Random(f"rl:{config.seed}")

    def asking(item: dict) -> dict:
        if "prompt" in item:
            return rendered(item)
        if item.get("principles"):
            raise ValueError("principles: the trainer's prompts have no place for them; let the cluster fill in the prompts (grm spct rft --prompts FILE)")
        order = list(range(len(item["responses"])))
        rng.shuffle(order)
        nonce = f"{rng.getrandbits(64):016x}"
        asked = prompts.judge(item["query"], item["responses"], order, item.get("reference"), nonce)
        return {"prompt": asked, "labels": labels_of(item, len(order)), "permutation": order}

    file = config.data.rl_file
    items = read_jsonl(file) if file else [task.row() for task in tasks_of(config)["rl"]]
    rows = []
    for at, item in enumerate(items, 1):
        try:
            rows.append(asking(item))
        except KeyError as error:
            raise ValueError(f"{file or 'rl'}: row {at}, id {item.get('id')!r}: {error.args[0]}: missing") from None
        except ValueError as error:
            raise ValueError(f"{file or 'rl'}: row {at}, id {item.get('id')!r}: {error}") from None
    kept = [row for row in rows if row["labels"] is not None]
    if len(kept) < len(rows):
        say(config, "rl", items=len(rows), left_out_no_label=len(rows) - len(kept))
    if not kept:
        raise ValueError(f"{file or 'rl'}: no row has labels that name one best response, or the score of a single one")
    return Dataset.from_list(kept)


def rollout(config: Config):
    """TRL's `rollout_func` on a CPU and for nano models: the group of a prompt is drawn by our sampler, which evaluates the prompt once (sampler.py says why)."""
    rl = config.rl

    def draw(prompts: list, trainer: GRPOTrainer) -> dict:
        # TRL hands every prompt `group` times in a row.
        asked = prompts[:: rl.group]
        if prompts != [prompt for prompt in asked for _ in range(rl.group)]:
            raise ValueError(f"rollout: the prompts of a group of {rl.group} do not stand together")
        tokenizer = trainer.processing_class
        sampler = Sampler(trainer.accelerator.unwrap_model(trainer.model), torch.bfloat16 if config.bf16 else torch.float32)
        generator = torch.Generator(sampler.device).manual_seed(config.seed * 1_000_003 + trainer.state.global_step)
        ids = encode_all(tokenizer, asked)
        drawn = sampler.sample(ids, rl.group, rl.temperature, rl.max_tokens, tokenizer.eos_token_id, generator)
        completions = [[*one.tokens, tokenizer.eos_token_id] if one.finished else one.tokens for group in drawn for one in group]
        return {"prompt_ids": [list(prompt) for prompt in ids for _ in range(rl.group)], "completion_ids": completions, "logprobs": None}

    return draw


def reinforce(config: Config) -> None:
    folder = config.folder / "rl"
    if skips(folder):
        return
    tokenizer = load_tokenizer(config.folder / "rft")
    tokenizer.padding_side = "left"
    rl = config.rl
    micro, passes = accumulation(rl.prompts * rl.group, rl.micro_batch, "rl.prompts times rl.group")
    arguments = GRPOConfig(
        output_dir=str(folder / "checkpoints"), per_device_train_batch_size=micro, gradient_accumulation_steps=passes,
        num_generations=rl.group, max_completion_length=rl.max_tokens, temperature=rl.temperature, beta=rl.kl, loss_type="grpo",
        learning_rate=rl.learning_rate, lr_scheduler_type="constant_with_warmup", warmup_steps=rl.warmup_steps, max_steps=rl.steps,
        weight_decay=0.0, bf16=config.bf16, use_cpu=config.cpu, seed=config.seed, logging_steps=2, save_strategy="steps", save_steps=20,
        save_total_limit=1, report_to="none", disable_tqdm=True, gradient_checkpointing=config.saves_memory, dataloader_pin_memory=not config.cpu,
        # Without vLLM the weights of ZeRO-3 stay in their shards while it generates: slow, but a model of any size fits. vLLM needs them gathered.
        use_vllm=rl.vllm is not None, vllm_mode=rl.vllm or "colocate", ds3_gather_for_generation=rl.vllm is not None,
    )
    data = dataset(config)
    model = load_model(config.folder / "rft")
    trainer = GRPOTrainer(
        model=model, reward_funcs=reward_of(end_tokens(model, tokenizer)), args=arguments, train_dataset=data, processing_class=tokenizer,
        callbacks=[Progress(config, "rl")], rollout_func=rollout(config) if config.cpu or config.model.scratch else None,
    )
    checkpoints = Path(arguments.output_dir)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(checkpoints)) if checkpoints.exists() else None)
    save(trainer, tokenizer, folder)
