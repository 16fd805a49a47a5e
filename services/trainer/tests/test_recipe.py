"""The whole recipe on the toy configuration."""

import json
from pathlib import Path

from grm_trainer.__main__ import STAGES, run
from grm_trainer.config import load
from grm_trainer.run import ROOT


def test_every_stage_runs_and_resumes(tmp_path: Path):
    config = load(ROOT / "services/trainer/configs/toy.yaml", [f"out={tmp_path}"])
    for stage in STAGES:
        run(stage, config)
    results = json.loads((tmp_path / "evaluation.json").read_text())
    assert set(results["greedy"]) == {"cold", "rft", "rft-easy", "rl"}
    assert set(results["naive"]) == {"1", "2", "4", "8"}
    assert (tmp_path / "report" / "spct.png").stat().st_size > 1000
    release = json.loads((tmp_path / "release" / "release.json").read_text())
    for role in ("grm", "meta"):
        assert (tmp_path / "release" / f"{role}.gguf").read_bytes()[:4] == b"GGUF"
        assert release[role]["bytes"] == (tmp_path / "release" / f"{role}.gguf").stat().st_size
    stages = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {"cold", "rft", "rl", "meta", "evaluate"} <= {line["stage"] for line in stages}
    # Everything is there: running a stage again trains nothing.
    before = (tmp_path / "rl" / "model.safetensors").stat().st_mtime_ns
    for stage in ("cold", "rft", "rl", "meta"):
        run(stage, config)
    assert (tmp_path / "rl" / "model.safetensors").stat().st_mtime_ns == before
