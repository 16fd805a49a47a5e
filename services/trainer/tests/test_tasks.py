import dataclasses
import random
from collections import Counter

import pytest

from grm_trainer.critic import IMPERFECT, PERFECT, critique
from grm_trainer.scores import judged_correct, read_scores, unshuffle
from grm_trainer.tasks import FAMILIES, make_tasks


def orders(task, rng):
    order = list(range(len(task.responses)))
    rng.shuffle(order)
    return order


@pytest.mark.parametrize("held_out", [False, True])
def test_a_perfect_critic_gives_the_labels(held_out):
    rng = random.Random(1)
    for task in make_tasks("train", 7, 800, held_out=held_out):
        order = orders(task, rng)
        shown = read_scores(critique(task, order, rng, PERFECT), len(order))
        assert unshuffle(shown, order) == task.labels, task


def test_imperfect_critics_err_about_as_often_as_planned():
    rng = random.Random(2)
    tasks = make_tasks("train", 8, 2000)
    right = sum(judged_correct(critique(task, order, rng, IMPERFECT), task.labels, order) for task in tasks for order in [orders(task, rng)])
    assert 0.55 < right / len(tasks) < 0.75


def test_same_seed_same_tasks_and_no_item_in_two_splits():
    seen = set()
    test = make_tasks("test", 1, 400, seen=seen)
    train = make_tasks("train", 1, 2000, seen=seen)
    assert [task.row() for task in test] == [task.row() for task in make_tasks("test", 1, 400)]
    ids = [task.id for task in [*test, *train]]
    assert len(ids) == len(set(ids))


def test_an_item_is_the_same_in_another_order_of_its_responses():
    task = next(task for task in make_tasks("train", 1, 50) if len(task.responses) > 2)
    turned = dataclasses.replace(task, responses=task.responses[1:] + task.responses[:1])
    assert turned.labels != task.labels and turned.id == task.id


def test_every_family_has_one_best_response_and_all_counts():
    tasks = make_tasks("train", 3, 1600)
    assert set(Counter(task.family for task in tasks)) == set(FAMILIES)
    assert set(Counter(len(task.responses) for task in tasks)) == {1, 2, 3, 4}
    for task in tasks:
        assert task.labels.count(max(task.labels)) == 1
        assert all(1 <= label <= 10 for label in task.labels)


def test_style_says_nothing_about_who_is_right():
    tasks = [task for task in make_tasks("train", 4, 8000) if task.family in ("arithmetic", "word", "count", "edit", "lookup") and len(task.responses) > 1]
    best = {decoy: [] for decoy in (True, False)}
    for task in tasks:
        for at, response in enumerate(task.responses):
            best[response.decoy].append(at == task.best)
    share = {decoy: sum(values) / len(values) for decoy, values in best.items()}
    assert abs(share[True] - share[False]) < 0.05, share
    places = Counter(task.best for task in tasks if len(task.responses) == 2)
    assert abs(places[0] / (places[0] + places[1]) - 0.5) < 0.05


@pytest.mark.parametrize("family", list(FAMILIES))
def test_length_says_nothing_about_who_is_right(family):
    tasks = [task for task in make_tasks("train", 5, 16_000) if task.family == family and len(task.responses) > 1]
    longest = [max(range(len(task.responses)), key=lambda i: len(task.responses[i].text)) == task.best for task in tasks]
    chance = sum(1 / len(task.responses) for task in tasks) / len(tasks)
    assert abs(sum(longest) / len(longest) - chance) < 0.08
