"""Configuration: one YAML file a recipe. Unknown keys are refused, all problems are told at once."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
import yaml


@dataclass
class Templates:
    grm: str = "templates/grm-default.txt"
    meta: str = "templates/meta-default.txt"


@dataclass
class Scratch:
    """A Llama decoder with random weights and a vocabulary of its own."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int
    max_position_embeddings: int = 1024


@dataclass
class Model:
    path: str | None = None
    """A folder or hub name of a causal model to begin with; absent: from scratch."""
    meta_path: str | None = None
    """What the meta RM begins with; absent: the GRM after RFT."""
    scratch: Scratch | None = None


@dataclass
class Data:
    """Items of the generator, or JSONL files of labelled items ({query, responses, labels or best})."""

    rft_items: int = 0
    rl_items: int = 0
    validation_items: int = 0
    test_items: int = 0
    held_out_items: int = 0
    rft_file: str | None = None
    """Chat-format JSONL of `grm spct rft`: the rft stage samples nothing and trains on it."""
    rl_file: str | None = None
    meta_file: str | None = None
    """JSONL of `grm spct meta-data`: the meta stage samples nothing and trains on it."""
    general_file: str | None = None
    """Chat-format JSONL of general instructions, mixed into RFT."""


@dataclass(kw_only=True)
class Training:
    """What every stage says that goes over trajectories it has."""

    learning_rate: float
    batch: int
    """Trajectories per step."""
    micro_batch: int | None = None
    """Trajectories per device and pass; absent: the whole batch."""
    epochs: float = 1.0
    steps: int = -1
    warmup_steps: int = 20


@dataclass(kw_only=True)
class Sft(Training):
    max_length: int = 512
    schedule: str = "cosine"
    whole: bool = False
    """Loss on prompts too: a model that begins with nothing learns to copy from them."""


@dataclass
class Cold:
    sft: Sft
    trajectories: int


@dataclass
class Rft:
    sft: Sft
    samples: int = 3
    temperature: float = 1.0
    keep_easy: bool = False
    """The ablation: items whose samples are all correct stay in."""


@dataclass
class Rl:
    learning_rate: float
    prompts: int
    """Prompts per step; each is drawn `group` times."""
    steps: int
    group: int = 4
    kl: float = 0.08
    temperature: float = 1.0
    max_tokens: int = 512
    micro_batch: int | None = None
    warmup_steps: int = 5
    vllm: Literal["server", "colocate"] | None = None
    """Who generates on GPUs: a server (`vllm serve`), or vLLM in the training processes; absent: the model itself, slowly."""


@dataclass(kw_only=True)
class MetaCold(Training):
    """Before drawn trajectories, generated ones: a right and a wrong one of each item, with labels inside. Nano scale only."""

    items: int


@dataclass(kw_only=True)
class Meta(Training):
    head: Literal["yes_no", "scalar"] = "yes_no"
    """yes_no: the log-odds of Yes against No of a causal model; scalar: AutoModelForSequenceClassification with one output."""
    balance: Literal["classes", "items"] = "classes"
    """classes: as many correct as incorrect trajectories over all; items: as many of each within every item, so that to know which items are
    easy is worth nothing."""
    items: int = 0
    """Items drawn anew for it, besides those of RFT."""
    cold: MetaCold | None = None
    steps_weight: float = 0.0
    """Weight of the loss inside judgements ("is all right so far"), where the generator knows from where on they err."""
    samples: int = 4
    temperature: float = 1.0
    max_length: int = 640


@dataclass
class Evaluation:
    k: int = 32
    temperature: float = 0.5
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3])
    max_tokens: int = 160
    items: int | None = None
    """The first so many test items alone; absent: all."""
    split: str = "test"
    """test, or validation for choosing settings."""
    biases: bool = True
    """Order and length bias too: as many samples again."""


@dataclass
class Config:
    name: str
    seed: int
    out: str
    model: Model
    data: Data
    rft: Rft
    rl: Rl
    meta: Meta
    cold: Cold | None = None
    templates: Templates = field(default_factory=Templates)
    evaluation: Evaluation = field(default_factory=Evaluation)
    bf16: bool = True
    cpu: bool | None = None
    """Absent: where there is no GPU."""

    @property
    def saves_memory(self) -> bool:
        """Whether activations are computed twice instead of kept. A model of the nano scale has room for them."""
        return not self.cpu and self.model.scratch is None

    @property
    def folder(self) -> Path:
        return Path(self.out)


def load(path: Path, overrides: list[str] = ()) -> Config:
    """Raises ValueError with one line per problem."""
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    problems: list[str] = []
    for text in overrides:
        name, _, value = text.partition("=")
        at = tree
        *parents, last = name.split(".")
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = yaml.safe_load(value)
    config = _build(Config, tree, "", problems)
    if problems:
        raise ValueError(f"{path}:\n" + "\n".join(f"  {problem}" for problem in problems))
    if config.cpu is None:
        config.cpu = not torch.cuda.is_available()
    return config


def _number(text: str) -> float | str:
    """YAML takes 6e-4 for text; it wants 6.0e-4."""
    try:
        return float(text)
    except ValueError:
        return text


def _fits(value: Any, kind: Any) -> bool:
    if is_dataclass(kind):
        return isinstance(value, kind)
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_fits(each, get_args(kind)[0]) for each in value)
    if get_origin(kind) is Literal:
        return any(value is each or isinstance(value, str) and value == each for each in get_args(kind))
    if get_args(kind):
        return any(_fits(value, each) for each in get_args(kind))
    return isinstance(value, (int, float) if kind is float else kind) and (kind is bool or not isinstance(value, bool))


def _words(kind: Any) -> str:
    """A type as people say it: "int or nothing", "list of int"."""
    if get_origin(kind) is list:
        return f"list of {_words(get_args(kind)[0])}"
    if get_args(kind):
        return " or ".join(str(each) if isinstance(each, str) else _words(each) for each in get_args(kind))
    return "nothing" if kind is type(None) else "settings" if is_dataclass(kind) else kind.__name__


def _build(kind: Any, tree: Any, where: str, problems: list[str]) -> Any:
    if not isinstance(tree, dict):
        problems.append(f"{where or 'file'}: came {tree!r}, expected settings")
        return None
    hints = get_type_hints(kind)
    names = {f.name for f in fields(kind)}
    for name in tree:
        if name not in names:
            problems.append(f"{where}{name}: no such setting; known are {', '.join(sorted(names))}")
    values = {}
    for name, value in tree.items():
        if name not in names:
            continue
        inner = [t for t in [hints[name], *getattr(hints[name], "__args__", ())] if is_dataclass(t)]
        if inner and value is not None:
            value = _build(inner[0], value, f"{where}{name}.", problems)
        else:
            if float in (hints[name], *get_args(hints[name])) and isinstance(value, str):
                value = _number(value)
            if not _fits(value, hints[name]):
                problems.append(f"{where}{name}: came {value!r}, expected {_words(hints[name])}")
        values[name] = value
    try:
        return kind(**values)
    except TypeError as error:
        problems.append(f"{where or 'file'}: {str(error).split('() ')[-1]}")
        return None
