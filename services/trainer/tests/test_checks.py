import random

from grm_trainer.checks import Check, _marks, right_so_far
from grm_trainer.critic import IMPERFECT, PERFECT, Critic, critique
from grm_trainer.scores import judged_correct, read_scores
from grm_trainer.tasks import make_tasks


def test_every_line_of_a_perfect_judgement_is_right():
    rng = random.Random(1)
    for task in make_tasks("train", 7, 200):
        order = list(range(len(task.responses)))
        rng.shuffle(order)
        text = critique(task, order, rng, PERFECT)
        lines = right_so_far(task, order, text, True)
        assert len(lines) == len(text.split("\n"))
        assert lines == [None] * (len(lines) - len(order) - 2) + [True] * (len(order) + 2)


def test_from_the_first_error_on_nothing_is_right_but_perhaps_the_verdict():
    rng = random.Random(2)
    seen = {"late": 0, "early": 0, "verdict alone": 0}
    for task in make_tasks("train", 8, 600):
        order = list(range(len(task.responses)))
        text = critique(task, order, rng, IMPERFECT)
        correct = judged_correct(text, task.labels, order)
        lines = [line for line in right_so_far(task, order, text, correct) if line is not None]
        *analysis, verdict = lines
        assert verdict is correct
        assert analysis == sorted(analysis, reverse=True)
        seen["early"] += not analysis[0]
        seen["late"] += analysis[0] and not analysis[-1]
        seen["verdict alone"] += all(analysis) and not verdict
    assert all(count >= 5 for count in seen.values()), seen


def test_marks_stand_on_the_last_token_of_their_lines():
    said = "Analysis:\n2 + 2 = 4.\nResponse 1: 4 right.\nScores: \\boxed{9}"
    text = f"<|user|>[response 1] 4\n[judgement] {said}<|assistant|>"
    # Tokens of three letters: a line's end lies inside one, wherever it is.
    offsets = [(at, min(at + 3, len(text))) for at in range(0, len(text), 3)]
    marks = _marks(Check([], True, judgement=said, lines=[None, True, False, True]), text, offsets)
    assert [right for _, right in marks] == [True, False, True]
    for (token, _), line in zip(marks, said.split("\n")[1:]):
        start, end = offsets[token]
        assert start < text.index(line) + len(line) <= end


def test_what_critics_say_of_their_doubt_changes_no_verdict():
    rng = random.Random(3)
    unlike = 0
    for task in make_tasks("train", 9, 600):
        order = list(range(len(task.responses)))
        text = critique(task, order, rng, Critic(spread=0.5))
        assert judged_correct(text, task.labels, order)
        scores = read_scores(text, len(order))
        unlike += scores != [task.labels[i] for i in order]
        # Having erred: nearer to each other, and nobody who was not best is better than the one who was.
        seed = rng.random()
        sure = read_scores(critique(task, order, random.Random(seed), Critic(misread=1.0)), len(order))
        unsure = read_scores(critique(task, order, random.Random(seed), Critic(misread=1.0, doubt=1.0)), len(order))
        assert max(unsure) - min(unsure) <= max(sure) - min(sure)
        if sure.count(max(sure)) == 1:
            assert unsure[sure.index(max(sure))] == max(unsure)
    assert unlike > 300
