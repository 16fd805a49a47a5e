"""Rows per device, what is written at the end of a stage, and which stages a recipe has."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from grm_trainer.__main__ import STAGES, stages_of
from grm_trainer.config import Sft, load
from grm_trainer.run import ROOT, accumulation, read_jsonl, save, say, skips
from grm_trainer.sft import IGNORED, Encoded, encode_rows

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


class Letters:
    """A tokenizer of one token a letter."""

    def apply_chat_template(self, chats, add_generation_prompt=False, return_dict=True):
        return [[ord(letter) for message in chat for letter in message["content"]] for chat in chats]


def rows_of(*texts):
    return [([{"role": "user", "content": asked}], completion) for asked, completion in texts]


def test_rows_that_are_too_long_are_left_out_and_prompts_are_not_learned():
    rows = rows_of(("1234", "12"), ("1234", "123"))
    encoded = encode_rows(Letters(), rows, Sft(learning_rate=1e-3, batch=1, max_length=6))
    assert (len(encoded), encoded.left_out) == (1, 1)
    assert encoded.ids.tolist() == [ord(x) for x in "123412"]
    assert encoded.labels.tolist() == [IGNORED] * 4 + [ord("1"), ord("2")]
    assert encode_rows(Letters(), rows, Sft(learning_rate=1e-3, batch=1, whole=True)).labels.tolist() == [ord(x) for x in "1234121234123"]


def test_a_data_set_holds_every_row_once_in_batches_of_like_length():
    texts = [("1" * (1 + at % 7), "2" * (1 + at % 5)) for at in range(103)]
    parts = [encode_rows(Letters(), rows_of(*texts[:50]), Sft(learning_rate=1e-3, batch=4)), encode_rows(Letters(), rows_of(*texts[50:]), Sft(learning_rate=1e-3, batch=4))]
    data = Encoded.joined(parts).dataset(4, 1)
    said = ["".join(map(chr, row["input_ids"])) for row in data]
    assert sorted(said) == sorted(asked + completion for asked, completion in texts)
    assert said != sorted(said, key=len)
    batches = [said[at : at + 4] for at in range(0, 100, 4)]
    assert sum(max(map(len, batch)) - min(map(len, batch)) for batch in batches) < len(batches)
    assert all(row["labels"] == [IGNORED] * row["input_ids"].count(49) + [50] * row["input_ids"].count(50) for row in data)
