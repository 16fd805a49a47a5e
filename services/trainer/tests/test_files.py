"""Stages that read the files of `grm spct`, on a tiny model of another family; and the loss of the meta RM."""

import json

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from grm_trainer.__main__ import run
from grm_trainer.config import load
from grm_trainer.checks import collate
from grm_trainer.meta import MetaTrainer, log_odds
from grm_trainer.run import ROOT, read_jsonl
from grm_trainer.vocabulary import train_tokenizer

ASKED = [{"role": "system", "content": "Judge."}, {"role": "user", "content": "[response 1] 4\n[response 2] 5"}]
SAID = "Analysis:\n4 is right.\nScores: \\boxed{9, 3}"


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def tiny(folder):
    """A Qwen2 with grouped keys and no padding token in its configuration, as the released ones are."""
    tokenizer = train_tokenizer([SAID, "Yes", "No", *[message["content"] for message in ASKED]], 300)
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=256, tie_word_embeddings=True, eos_token_id=1, bos_token_id=None, pad_token_id=None,
    ))
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    tiny(folder / "base")
    row = {"messages": [*ASKED, {"role": "assistant", "content": SAID}]}
    long = {"messages": [*ASKED, {"role": "assistant", "content": SAID * 40}]}
    rft, general = write(folder / "rft.jsonl", [row] * 6 + [long]), write(folder / "general.jsonl", [row])
    item = {"id": "a", "query": "2 + 2?", "responses": ["4", "5"], "labels": [9, 3]}
    ready = {"id": "b", "domain": "sums", "prompt": ASKED, "n": 2, "best": 0, "labels": None, "permutation": [0, 1]}
    rl = write(folder / "rl.jsonl", [item, ready, item | {"labels": [3, 3]}, ready])
    checks = [
        {"prompt": ASKED, "text": SAID + " x" * at, "label": at % 2, "weight": 0.5, "split": split}
        for at, split in enumerate(["train"] * 6 + ["test"])
    ]
    meta = write(folder / "meta.jsonl", [*checks, checks[0] | {"prompt": long["messages"], "text": "x " * 900}])

    def settings(head):
        small = "{learning_rate: 1.0e-3, batch: 4, micro_batch: 2, steps: 2, max_length: 400, warmup_steps: 0}"
        return load(ROOT / "services/trainer/configs/toy.yaml", [
            f"out={folder}/{head}", "model.scratch=null", "cold=null", f"model.path={folder}/base", f"model.meta_path={folder}/base",
            f"data.rft_file={rft}", f"data.general_file={general}", f"data.rl_file={rl}", f"data.meta_file={meta}", f"rft.sft={small}",
            "rl={learning_rate: 1.0e-3, prompts: 2, group: 2, steps: 2, max_tokens: 8, micro_batch: 2}",
            f"meta={{head: {head}, learning_rate: 1.0e-3, batch: 4, micro_batch: 2, steps: 2, max_length: 400}}",
        ])
    return settings


def said(config, stage):
    return [line for line in read_jsonl(config.folder / "metrics.jsonl") if line["stage"] == stage]


def test_rft_and_rl_on_files(recipe, monkeypatch):
    config = recipe("yes_no")
    monkeypatch.setattr("grm_trainer.rl.rollout", lambda config: None)  # TRL's own generation, as on GPUs
    run("rft", config)
    assert {"rows": 8, "too_long": 1}.items() <= said(config, "rft")[0].items()
    run("rl", config)
    assert {"items": 4, "left_out_no_label": 1}.items() <= said(config, "rl")[0].items()
    assert [line["rewards/rule_reward/mean"] for line in said(config, "rl") if "step" in line] == [-1]
    for stage in ("rft", "rl"):
        names = {path.name for path in (config.folder / stage).iterdir()}
        assert {"done", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= names
        assert "training_args.bin" not in names
        saved = AutoModelForCausalLM.from_pretrained(config.folder / stage)
        assert saved.dtype == torch.float32
        AutoTokenizer.from_pretrained(config.folder / stage)


@pytest.mark.parametrize("head, kind", [("yes_no", AutoModelForCausalLM), ("scalar", AutoModelForSequenceClassification)])
def test_meta_on_files(recipe, head, kind):
    config = recipe(head)
    run("meta", config)
    lines = said(config, "meta")
    assert {"correct": 3, "incorrect": 4}.items() <= lines[0].items()
    assert {"rows": 7, "too_long": 1}.items() <= lines[1].items()
    saved = kind.from_pretrained(config.folder / "meta")
    assert saved.dtype == torch.float32
    assert (config.folder / "meta" / "done").exists()
    if head == "scalar":
        assert saved.config.get_text_config().pad_token_id == AutoTokenizer.from_pretrained(config.folder / "meta").pad_token_id
        assert saved(torch.tensor([[5, 6, 7], [5, 6, 0]])).logits.shape == (2, 1)


def test_the_loss_does_not_depend_on_the_padding():
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, attention_bias=True,
        initializer_range=0.3, pad_token_id=0,
    ))
    answers = [3, 4], [5]
    rows = [{"input_ids": ids, "correct": correct, "weight": weight, "marks": [1], "so_far": [1.0]} for ids, correct, weight in (
        ([7, 8, 9], 1.0, 1.0), (list(range(10, 40)), 0.0, 0.5), ([41, 42], 0.0, 2.0), (list(range(50, 59)), 1.0, 1.0),
    )]
    odds = torch.stack([log_odds(model(torch.tensor([row["input_ids"]])).logits[0, -1], answers) for row in rows])
    correct, weight = torch.tensor([1.0, 0.0, 0.0, 1.0]), torch.tensor([1.0, 0.5, 2.0, 1.0])
    wanted = F.binary_cross_entropy_with_logits(odds, correct, weight)
    wanted.backward()
    gradient = model.model.layers[0].self_attn.k_proj.weight.grad.clone()
    model.zero_grad()

    trainer = MetaTrainer.__new__(MetaTrainer)
    trainer.answers, trainer.steps_weight = answers, 0.0
    loss, outputs = trainer.compute_loss(model, collate(0)(rows), return_outputs=True)
    loss.backward()
    torch.testing.assert_close(outputs["logits"], odds, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loss, wanted, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(model.model.layers[0].self_attn.k_proj.weight.grad, gradient, atol=1e-5, rtol=1e-4)

    # As it was before: padded at the right, the hidden state of each row's last token through the head.
    width = max(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([row["input_ids"] + [0] * (width - len(row["input_ids"])) for row in rows])
    mask = (ids != 0).long()
    hidden = model.model(input_ids=ids, attention_mask=mask).last_hidden_state
    before = log_odds(model.lm_head(hidden[torch.arange(4), mask.sum(1) - 1]), answers)
    torch.testing.assert_close(outputs["logits"], before, atol=1e-5, rtol=1e-5)

    # With labels inside: padded at the right, the same at the ends of rows, and the mean over the marks besides.
    trainer.steps_weight = 0.5
    loss, outputs = trainer.compute_loss(model, collate(0, left=False)(rows), return_outputs=True)
    torch.testing.assert_close(outputs["logits"], odds, atol=1e-5, rtol=1e-5)
    marked = torch.stack([log_odds(model(torch.tensor([row["input_ids"]])).logits[0, 1], answers) for row in rows])
    torch.testing.assert_close(loss, wanted + 0.5 * F.binary_cross_entropy_with_logits(marked, torch.ones(4)), atol=1e-6, rtol=1e-6)
