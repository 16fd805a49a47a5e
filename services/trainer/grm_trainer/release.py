"""Release: the trained pair as GGUF files under models/NAME, with their figures in release.json."""

from __future__ import annotations

import json
from pathlib import Path

from .config import Config
from .export import export_gguf
from .run import ROOT, load_model, load_tokenizer, say

DESCRIPTIONS = {
    "grm": "Generative reward model for the nano task families of grm-cluster. It judges those and nothing else.",
    "meta": "Meta reward model for the nano GRM of grm-cluster: log-odds of Yes against No.",
}


def release(config: Config) -> None:
    folder = config.folder / "release" if config.out.startswith("/") else ROOT / "models" / config.name
    folder.mkdir(parents=True, exist_ok=True)
    facts = {}
    for role, stage in (("grm", "rl"), ("meta", "meta")):
        source = config.folder / stage
        path = Path(folder / f"{role}.gguf")
        facts[role] = export_gguf(load_model(source), load_tokenizer(source), path, f"{config.name}-{role}", DESCRIPTIONS[role])
        say(config, "export", role=role, **facts[role])
    (folder / "release.json").write_text(json.dumps(facts, indent=2) + "\n")
