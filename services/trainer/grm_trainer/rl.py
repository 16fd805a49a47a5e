"""Rule-based online RL: GRPO with TRL; +1 for a correct verdict, else -1; no reward for form."""

from __future__ import annotations

import random

import torch
from datasets import Dataset
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOConfig, GRPOTrainer

from .config import Config
from .run import Progress, is_done, load_model, load_tokenizer, prompts_of, read_jsonl, save, tasks_of
from .sampler import Sampler, encode
from .scores import judged_correct


def rule_reward(completions, labels, permutation, **_) -> list[float]:
    """TRL's reward function. What is no verdict is not correct: -1."""
    texts = [c[-1]["content"] if isinstance(c, list) else c for c in completions]
    return [1.0 if judged_correct(text, of, order) else -1.0 for text, of, order in zip(texts, labels, permutation)]


def labels_of(item: dict) -> list[int]:
    """`labels`, or from `best` labels that say the same."""
    if item.get("labels") is not None:
        return item["labels"]
    return [int(i == item["best"]) for i in range(len(item["responses"]))]


def dataset(config: Config) -> Dataset:
    prompts, rng = prompts_of(config), random.Random(f"rl:{config.seed}")
    items = read_jsonl(config.data.rl_file) if config.data.rl_file else [task.row() for task in tasks_of(config)["rl"]]
    rows = []
    for item in items:
        order = list(range(len(item["responses"])))
        rng.shuffle(order)
        nonce = f"{rng.getrandbits(64):016x}"
        asked = prompts.judge(item["query"], item["responses"], order, item.get("reference"), nonce)
        rows.append({"prompt": asked, "labels": labels_of(item), "permutation": order})
    return Dataset.from_list(rows)


def rollout(config: Config):
    """TRL's `rollout_func` on a CPU: the group of a prompt is drawn by our sampler, which evaluates the prompt once (sampler.py says why)."""
    rl = config.rl

    def draw(prompts: list, trainer: GRPOTrainer) -> dict:
        # TRL hands every prompt `group` times in a row.
        asked = prompts[:: rl.group]
        if prompts != [prompt for prompt in asked for _ in range(rl.group)]:
            raise ValueError(f"rollout: the prompts of a group of {rl.group} do not stand together")
        tokenizer = trainer.processing_class
        sampler = Sampler(trainer.accelerator.unwrap_model(trainer.model), torch.bfloat16 if config.bf16 else torch.float32)
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + trainer.state.global_step)
        ids = [encode(tokenizer, prompt) for prompt in asked]
        drawn = sampler.sample(ids, rl.group, rl.temperature, rl.max_tokens, tokenizer.eos_token_id, generator)
        completions = [[*one.tokens, tokenizer.eos_token_id] if one.finished else one.tokens for group in drawn for one in group]
        return {"prompt_ids": [list(prompt) for prompt in ids for _ in range(rl.group)], "completion_ids": completions, "logprobs": None}

    return draw


def reinforce(config: Config) -> None:
    folder = config.folder / "rl"
    if is_done(folder):
        return
    tokenizer = load_tokenizer(config.folder / "rft")
    tokenizer.padding_side = "left"
    rl = config.rl
    batch = rl.prompts * rl.group
    micro = rl.micro_batch or batch
    arguments = GRPOConfig(
        output_dir=str(folder / "checkpoints"), per_device_train_batch_size=micro, gradient_accumulation_steps=batch // micro,
        num_generations=rl.group, max_completion_length=rl.max_tokens, temperature=rl.temperature, beta=rl.kl, loss_type="grpo",
        learning_rate=rl.learning_rate, lr_scheduler_type="constant_with_warmup", warmup_steps=rl.warmup_steps, max_steps=rl.steps,
        weight_decay=0.0, bf16=config.bf16, use_cpu=config.cpu, seed=config.seed, logging_steps=2, save_strategy="steps", save_steps=20,
        save_total_limit=1, report_to="none", disable_tqdm=True, gradient_checkpointing=not config.cpu, dataloader_pin_memory=not config.cpu,
    )
    model = load_model(config.folder / "rft")
    trainer = GRPOTrainer(
        model=model, reward_funcs=rule_reward, args=arguments, train_dataset=dataset(config), processing_class=tokenizer,
        callbacks=[Progress(config, "rl")], rollout_func=rollout(config) if config.cpu else None,
    )
    checkpoints = folder / "checkpoints"
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(checkpoints)) if checkpoints.exists() else None)
    save(trainer.model, tokenizer, folder)
