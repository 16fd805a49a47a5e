"""The reading of scores, by the texts that the cluster's parser is tested with too (test/unit/grm/scores-golden.test.ts)."""

import json

import pytest

from grm_trainer.run import ROOT
from grm_trainer.scores import is_correct, judged_correct, read_scores, vote_is_correct

ROWS = json.loads((ROOT / "test/golden/scores.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['finish']}: {row['text'][-40:]!r}" for row in ROWS])
def test_golden_scores(row):
    assert read_scores(row["text"], row["n"], row["finish"]) == row["scores"]


def test_a_single_score_is_the_label():
    assert is_correct([9.0], [9])
    assert not is_correct([8.6], [9])
    assert vote_is_correct([8.6], [9])
    assert not vote_is_correct([8.5], [9])
    assert vote_is_correct([3, 4], [1, 9])
    assert not vote_is_correct([4, 4], [1, 9])


def test_a_cut_generation_has_to_reach_its_scores():
    cut = "Analysis: it says \\boxed{3, 9} and"
    assert judged_correct(cut, [3, 9], [0, 1])
    assert not judged_correct(cut, [3, 9], [0, 1], "length")
