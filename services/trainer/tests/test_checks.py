import random

from grm_trainer.checks import Check, _marks, analysis_of
from grm_trainer.critic import IMPERFECT, PERFECT, Critic, critique
from grm_trainer.scores import judged_correct, read_scores
from grm_trainer.tasks import make_tasks


def test_a_perfect_judgement_errs_nowhere():
    rng = random.Random(1)
    for task in make_tasks("train", 7, 200):
        order = list(range(len(task.responses)))
        rng.shuffle(order)
        text = critique(task, order, rng, PERFECT)
        start, errs, end = analysis_of(task, order, text)
        assert errs == end
        assert text[:start].endswith("Analysis:\n") and text[end:].startswith("\nScores:")


def test_an_imperfect_one_is_right_up_to_where_it_leaves_the_perfect_one():
    rng = random.Random(2)
    seen = {"early": 0, "late": 0, "scores alone": 0, "right": 0}
    for task in make_tasks("train", 8, 600):
        order = list(range(len(task.responses)))
        text = critique(task, order, rng, IMPERFECT)
        correct = judged_correct(text, task.labels, order)
        start, errs, end = analysis_of(task, order, text)
        wanted = critique(task, order, random.Random(0), PERFECT)
        wanted = wanted[wanted.index("Analysis:\n") + len("Analysis:\n") : wanted.rindex("\nScores:")]
        assert wanted.startswith(text[start:errs])
        assert (errs == end) == (text[start:end] == wanted)
        seen["right" if errs == end and correct else "scores alone" if errs == end else "early" if "\n" not in text[start:errs] else "late"] += 1
    assert all(count >= 5 for count in seen.values()), seen


def test_marks_are_the_tokens_of_the_analysis_and_the_last_one():
    said = "Analysis:\n2 + 2 = 5.\nResponse 1: 4 wrong.\nScores: \\boxed{3}"
    text = f"<|user|>[response 1] 4\n[judgement] {said}<|assistant|>"
    # Tokens of three letters: where the analysis begins, errs and ends lies inside one.
    offsets = [(at, min(at + 3, len(text))) for at in range(0, len(text), 3)]
    start, errs, end = said.index("2 +"), said.index("5."), said.index("\nScores")
    marks = _marks(Check([], False, judgement=said, analysis=(start, errs, end)), text, offsets)
    *inside, (last, verdict) = marks
    base = text.index(said)
    for token, label in inside:
        assert base + start < offsets[token][1] <= base + end
        assert label is (offsets[token][1] <= base + errs)
    assert {label for _, label in inside} == {True, False}
    assert verdict is False and offsets[last][0] < base + len(said) <= offsets[last][1]


def test_what_critics_say_of_their_doubt_changes_no_verdict():
    rng = random.Random(3)
    unlike = 0
    for task in make_tasks("train", 9, 600):
        order = list(range(len(task.responses)))
        text = critique(task, order, rng, Critic(spread=0.5))
        assert judged_correct(text, task.labels, order)
        unlike += read_scores(text, len(order)) != [task.labels[i] for i in order]
        # Having erred: nearer to each other, and nobody who was not best is better than the one who was.
        seed = rng.random()
        sure = read_scores(critique(task, order, random.Random(seed), Critic(misread=1.0)), len(order))
        unsure = read_scores(critique(task, order, random.Random(seed), Critic(misread=1.0, doubt=1.0)), len(order))
        assert max(unsure) - min(unsure) <= max(sure) - min(sure)
        if sure.count(max(sure)) == 1:
            assert unsure[sure.index(max(sure))] == max(unsure)
    assert unlike > 300
