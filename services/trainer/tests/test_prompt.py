from grm_trainer.prompt import Prompts, fill
from grm_trainer.run import ROOT


def test_a_placeholder_alone_on_its_line_takes_it_along_when_empty():
    assert fill("a\n{{x}}\nb", {"x": ""}) == "a\nb"
    assert fill("a\n{{x}}\nb", {"x": "1\n2"}) == "a\n1\n2\nb"
    assert fill("a {{x}}", {"x": ""}) == "a "


def test_prompts_are_those_of_the_cluster():
    """The same texts stand in test/golden/prompts/nano*.txt, made by the cluster's own renderer."""
    prompts = Prompts.read(ROOT / "templates/grm-nano.txt", ROOT / "templates/meta-nano.txt")
    judged = prompts.judge("What is 2 + 2?", ["It is 4.", "5"], [1, 0], "4")
    golden = ROOT / "test/golden/prompts"
    assert judged == (golden / "nano.txt").read_text().rstrip("\n")
    judgement = "Specific Criteria:\n1. right result (100%)\nAnalysis:\n2 + 2 = 4.\nScores: \\boxed{3, 9}"
    assert prompts.check("What is 2 + 2?", ["It is 4.", "5"], [1, 0], judgement, "4") == (golden / "nano-meta.txt").read_text().rstrip("\n")
