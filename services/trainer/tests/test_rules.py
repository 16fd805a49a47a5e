import random

import pytest

from grm_trainer.scores import is_correct, judged_correct, read_scores, unshuffle
from grm_trainer.votes import meta_topk, naive


@pytest.mark.parametrize("text, n, scores", [
    ("Scores: \\boxed{8, 3}", 2, [8, 3]),
    ("Scores:\\\\boxed{9, 5}", 2, [9, 5]),
    ("\\boxed{1, 2} then \\boxed{8/10, 9/10}", 2, [8, 9]),
    ("\\boxed{7, 7} \\boxed{1, 2, 3}", 2, [7, 7]),
    ("\\boxed{8.5}", 1, [8.5]),
    ("\\boxed{NaN, 3}", 2, None),
    ("\\boxed{-3, 3}", 2, None),
    ("\\boxed{0, 11}", 2, None),
    ("no box", 1, None),
])
def test_box(text, n, scores):
    assert read_scores(text, n) == scores


def test_correct_is_strict():
    assert is_correct([5, 8], [3, 9])
    assert not is_correct([8, 8], [3, 9])
    assert is_correct([9], [9])
    assert not is_correct([8], [9])


def test_order_is_undone():
    assert unshuffle([9, 3, 1], [2, 0, 1]) == [3, 1, 9]
    assert judged_correct("Scores: \\boxed{9, 3}", [3, 9], [1, 0])
    assert not judged_correct("Scores: \\boxed{9, 3}", [3, 9], [0, 1])


def test_golden_votes():
    samples = [[1, 5], [5, 6], [4, 8], [7, 6]]
    assert [4 * mean for mean in naive(samples)] == [17, 25]
    assert [2 * mean for mean in meta_topk(samples, [3.0, -1.0, 2.0, -2.0])] == [5, 13]


def test_invalid_samples_have_no_vote():
    assert naive([None, [2, 4]]) == [2, 4]
    assert naive([None]) is None
    assert meta_topk([None, [2, 4], [6, 1]], [9.0, 0.0, 1.0]) == [6, 1]


def test_meta_vote_does_not_depend_on_the_order_of_samples_but_for_ties():
    rng = random.Random(3)
    samples = [[rng.randint(1, 10), rng.randint(1, 10)] for _ in range(9)]
    rewards = [rng.random() for _ in samples]
    order = list(range(9))
    rng.shuffle(order)
    assert meta_topk(samples, rewards) == pytest.approx(meta_topk([samples[i] for i in order], [rewards[i] for i in order]))
