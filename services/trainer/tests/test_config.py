import pytest

from grm_trainer.config import load
from grm_trainer.run import ROOT

CONFIGS = ROOT / "services/trainer/configs"


@pytest.mark.parametrize("name", ["nano", "toy", "7b", "27b"])
def test_shipped_recipes_load(name):
    assert load(CONFIGS / f"{name}.yaml").rl.group == 4


def test_overrides_and_problems(tmp_path):
    assert load(CONFIGS / "nano.yaml", ["rl.kl=0.1"]).rl.kl == 0.1
    with pytest.raises(ValueError) as told:
        load(CONFIGS / "nano.yaml", ["rl.kl=much", "rft.sampels=3", "rl.group=false"])
    message = str(told.value)
    assert "rl.kl: came 'much', expected float" in message
    assert "rft.sampels: no such setting" in message
    assert "rl.group: came False, expected int" in message


@pytest.mark.parametrize("setting, told", [
    ("rl.micro_batch=half", "rl.micro_batch: came 'half', expected int or nothing"),
    ("rl.vllm=local", "rl.vllm: came 'local', expected server or colocate or nothing"),
    ("meta.head=both", "meta.head: came 'both', expected yes_no or scalar"),
    ("model.path=7", "model.path: came 7, expected str or nothing"),
    ("evaluation.seeds=1", "evaluation.seeds: came 1, expected list of int"),
    ("evaluation.seeds=[1, true]", "evaluation.seeds: came [1, True], expected list of int"),
    ("rl=", "rl: came None, expected settings"),
])
def test_optional_and_list_settings_have_types_too(setting, told):
    with pytest.raises(ValueError) as raised:
        load(CONFIGS / "nano.yaml", [setting])
    assert told in str(raised.value)


def test_nothing_is_fine_where_it_may_be():
    config = load(CONFIGS / "nano.yaml", ["rl.micro_batch=null", "cold=null", "rl.vllm=server", "rl.kl=6e-2"])
    assert (config.rl.micro_batch, config.cold, config.rl.vllm, config.rl.kl) == (None, None, "server", 0.06)
