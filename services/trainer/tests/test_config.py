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
