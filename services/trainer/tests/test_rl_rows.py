"""Rows and rewards of online RL."""

import json
from types import SimpleNamespace

import pytest

from grm_trainer.config import load
from grm_trainer.rl import dataset, end_tokens, labels_of, reward_of
from grm_trainer.run import ROOT

END = 1


def recipe(tmp_path, rows):
    file = tmp_path / "rl.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load(ROOT / "services/trainer/configs/toy.yaml", [f"out={tmp_path}/out", f"data.rl_file={file}"])


def test_what_is_cut_or_empty_is_not_correct():
    right = "Scores: \\boxed{9, 3}"
    reward = reward_of({END, 7})
    ids = [[5, END], [5, 7], [5, 6], []]
    assert reward([right] * 4, completion_ids=ids, labels=[[3, 9]] * 4, permutation=[[1, 0]] * 4, prompts=None) == [1.0, 1.0, -1.0, -1.0]
    assert reward([[{"role": "assistant", "content": right}]], [[END]], labels=[[9, 3]], permutation=[[1, 0]]) == [-1.0]
    assert reward.__name__ == "rule_reward"


@pytest.mark.parametrize("more, ends", [(None, {1}), (2, {1, 2}), ([1, 3], {1, 3})])
def test_end_tokens(more, ends):
    assert end_tokens(SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=more)), SimpleNamespace(eos_token_id=1)) == ends


def test_labels_are_not_guessed():
    assert labels_of({"labels": [3, 9]}, 2) == [3, 9]
    assert labels_of({"labels": None, "best": 1}, 3) == [0, 1, 0]
    assert labels_of({"labels": [7]}, 1) == [7]
    assert labels_of({"best": 0}, 1) is None
    assert labels_of({}, 2) is None
    assert labels_of({"labels": [9, 3, 9]}, 3) is None
    assert labels_of({"labels": [9, 3, 3]}, 3) == [9, 3, 3]
    with pytest.raises(ValueError, match="labels: came 2, expected 3"):
        labels_of({"labels": [1, 2]}, 3)
    with pytest.raises(ValueError, match="best: came 2"):
        labels_of({"best": 2}, 2)


def test_rows_without_a_label_are_left_out_and_counted(tmp_path):
    item = {"query": "2 + 2?", "responses": ["4", "5"]}
    config = recipe(tmp_path, [item | {"labels": [9, 3]}, item | {"labels": [9, 9]}, {"query": "2 + 2?", "responses": ["4"], "best": 0}])
    rows = dataset(config)
    assert rows["labels"] == [[9, 3]]
    assert "[response 1] " + ["4", "5"][rows[0]["permutation"][0]] in rows[0]["prompt"][0]["content"]
    said = json.loads((config.folder / "metrics.jsonl").read_text())
    assert (said["items"], said["left_out_no_label"]) == (3, 2)


def test_a_prompt_of_the_cluster_is_taken_as_it_is(tmp_path):
    prompt = [{"role": "system", "content": "Judge."}, {"role": "user", "content": "By the criteria: which?"}]
    row = {"id": "a", "domain": "x", "prompt": prompt, "n": 2, "labels": None, "best": 1, "permutation": [1, 0]}
    rows = dataset(recipe(tmp_path, [row, row | {"labels": [9.5, 3]}]))
    assert [one["prompt"] for one in rows] == [prompt, prompt]
    assert [one["labels"] for one in rows] == [[0, 1], [9.5, 3]]
    assert [one["permutation"] for one in rows] == [[1, 0], [1, 0]]


@pytest.mark.parametrize("change, told", [
    ({"principles": ["truth"]}, "row 2, id 'b': principles: "),
    ({"responses": None}, "row 2, id 'b': responses: missing"),
    ({"labels": [1, 2, 3]}, "row 2, id 'b': labels: came 3, expected 2"),
    ({"prompt": [], "n": 2, "permutation": [0, 0]}, r"row 2, id 'b': permutation: came \[0, 0\]"),
])
def test_a_wrong_row_is_named(tmp_path, change, told):
    item = {"id": "a", "query": "2 + 2?", "responses": ["4", "5"], "labels": [9, 3]}
    wrong = {key: value for key, value in (item | {"id": "b"} | change).items() if value is not None}
    with pytest.raises(ValueError, match=told):
        dataset(recipe(tmp_path, [item, wrong]))
