"""Rows per device, what is written at the end of a stage, and which stages a recipe has."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from grm_trainer.__main__ import STAGES, stages_of
from grm_trainer.config import load
from grm_trainer.run import ROOT, accumulation, read_jsonl, save, say, skips
from grm_trainer.sft import within

CONFIGS = ROOT / "services/trainer/configs"


@pytest.mark.parametrize("world, batch, micro, wanted", [(None, 24, None, (24, 1)), (1, 24, 4, (4, 6)), (8, 1024, 4, (4, 32)), (8, 1024, None, (128, 1))])
def test_all_processes_together_take_a_batch(monkeypatch, world, batch, micro, wanted):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if world is not None:
        monkeypatch.setenv("WORLD_SIZE", str(world))
    assert accumulation(batch, micro, "meta.batch") == wanted


@pytest.mark.parametrize("batch, micro", [(100, 4), (4, 8), (12, None), (16, 0)])
def test_a_batch_that_does_not_come_out_even_is_refused(monkeypatch, batch, micro):
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(ValueError, match=f"rft.sft.batch: came {batch}, expected a multiple of 8 processes"):
        accumulation(batch, micro, "rft.sft.batch")


class Saving:
    """What save() asks of a Trainer."""

    def __init__(self, first: bool, weights: str | None):
        self.first, self.weights, self.waits = first, weights, 0
        self.accelerator = SimpleNamespace(wait_for_everyone=self.wait)

    def wait(self):
        self.waits += 1

    def is_world_process_zero(self):
        return self.first

    def save_model(self, folder):
        if self.first and self.weights:
            (Path(folder) / self.weights).write_text("new")


def test_the_first_process_alone_writes(tmp_path):
    tokenizer = SimpleNamespace(save_pretrained=lambda folder: (folder / "tokenizer.json").write_text(""))
    other, first = Saving(False, "model.safetensors"), Saving(True, "model.safetensors")
    save(other, tokenizer, tmp_path)
    assert list(tmp_path.iterdir()) == []
    save(first, tokenizer, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["done", "model.safetensors", "tokenizer.json"]
    assert other.waits == first.waits == 3


def test_weights_that_were_not_written_are_no_finished_stage(tmp_path):
    (tmp_path / "model.safetensors").write_text("of an interrupted run")
    with pytest.raises(RuntimeError, match="FULL_STATE_DICT"):
        save(Saving(True, None), None, tmp_path)
    assert not (tmp_path / "done").exists()


def test_one_process_speaks(tmp_path, monkeypatch, capsys):
    config = load(CONFIGS / "toy.yaml", [f"out={tmp_path}"])
    (tmp_path / "rft").mkdir()
    (tmp_path / "rft" / "done").write_text("")
    monkeypatch.setenv("RANK", "1")
    say(config, "rft", step=1)
    assert skips(tmp_path / "rft") and not skips(tmp_path / "rl")
    assert capsys.readouterr().out == "" and not (tmp_path / "metrics.jsonl").exists()
    monkeypatch.setenv("RANK", "0")
    say(config, "rft", step=1)
    assert skips(tmp_path / "rft")
    assert capsys.readouterr().out == "rft step=1\nrft skipped: done\n"
    assert [row["step"] for row in read_jsonl(str(tmp_path / "metrics.jsonl"))] == [1]


def test_stages_of_the_nano_scale(capsys):
    nano, big = load(CONFIGS / "nano.yaml"), load(CONFIGS / "7b.yaml")
    assert stages_of("all", nano) == STAGES and stages_of("evaluate", nano) == ["evaluate"]
    assert stages_of("all", big) == ["rft", "rl", "meta"] and stages_of("rl", big) == ["rl"]
    assert capsys.readouterr().out == "all: without model.scratch there is no cold, ablate, export, evaluate, report\n"
    for stage in ("cold", "ablate", "export", "evaluate", "report"):
        with pytest.raises(ValueError, match=f"{stage}: for recipes with model.scratch"):
            stages_of(stage, big)


def test_rows_that_are_too_long_are_left_out():
    tokenizer = SimpleNamespace(apply_chat_template=lambda messages, return_dict: [0] * sum(len(message["content"]) for message in messages))
    short, long = ([{"role": "user", "content": "1234"}], "12"), ([{"role": "user", "content": "1234"}], "123")
    assert within(tokenizer, [short, long], 6) == [short]
    assert within(tokenizer, [long], 7) == [long]
