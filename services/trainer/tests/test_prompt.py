import pytest

from grm_trainer.prompt import Prompts, fill
from grm_trainer.run import ROOT


def test_a_placeholder_alone_on_its_line_takes_it_along_when_empty():
    assert fill("a\n{{x}}\nb", {"x": ""}) == "a\nb"
    assert fill("a\n{{x}}\nb", {"x": "1\n2"}) == "a\n1\n2\nb"
    assert fill("a {{x}}", {"x": ""}) == "a "


GOLDEN = ROOT / "test/golden/prompts"
"""Made by the cluster's own renderer (test/unit/grm)."""


def test_nano_prompts_are_those_of_the_cluster():
    prompts = Prompts.read(ROOT / "templates/grm-nano.txt", ROOT / "templates/meta-nano.txt")
    judged = prompts.judge("What is 2 + 2?", ["It is 4.", "5"], [1, 0], "4")
    assert judged == [{"role": "user", "content": (GOLDEN / "nano.txt").read_text().rstrip("\n")}]
    judgement = "Specific Criteria:\n1. right result (100%)\nAnalysis:\n2 + 2 = 4.\nScores: \\boxed{3, 9}"
    checked = prompts.check("What is 2 + 2?", ["It is 4.", "5"], [1, 0], judgement, "4")
    assert checked == [{"role": "user", "content": (GOLDEN / "nano-meta.txt").read_text().rstrip("\n")}]


@pytest.mark.parametrize("name, responses, permutation, reference", [
    ("single", ["Because of Rayleigh scattering."], [0], None),
    ("paired", ["It reflects the sea.", "Because of Rayleigh scattering."], [1, 0], None),
    ("list", ["It reflects the sea.", "Because of Rayleigh scattering.", "", "No idea."], [2, 0, 3, 1], None),
    ("reference", ["It reflects the sea.", "Scattering."], [0, 1], "Air scatters blue light more."),
])
def test_default_prompts_are_those_of_the_cluster(name, responses, permutation, reference):
    prompts = Prompts.read(ROOT / "templates/grm-default.txt", ROOT / "templates/meta-default.txt")
    chat = prompts.judge("Why is the sky blue?", responses, permutation, reference, "a1b2c3d4")
    shown = "".join(f"--- {message['role']}\n{message['content']}\n" for message in chat)
    assert shown == (GOLDEN / f"{name}.txt").read_text()
