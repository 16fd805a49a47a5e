"""Critics: trajectories in the project's format, by critics that err as small judges do.

A critic reads the task, derives the answer that is wanted, says what each response holds, and scores by the grades that follow from that.
It errs in at most one place, and what it writes after that is consistent with the error: a meta RM can find the place. No two critics use the scale
alike, and one that errs is often less sure: its scores lie nearer to each other. Two samples that contradict each other then seldom tie.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from .tasks import Task, key


@dataclass(frozen=True)
class Critic:
    """Odds of each error, 0..1. All zero: a perfect critic."""

    work: float = 0.0
    """Derives a wrong answer: the first response's, another's, or one that nobody gave."""
    misread: float = 0.0
    """Takes one response for what it is not."""
    style: float = 0.0
    """Where a decoy is wrong: takes it for right because it sounds so."""
    score: float = 0.0
    """Writes a score that does not follow from its own finding."""
    spread: float = 0.0
    """Gives a score that is a point off, where that changes no order (n >= 2)."""
    doubt: float = 0.0
    """Having erred: moves its scores towards the middle, by a third or two of the way (n >= 2)."""


IMPERFECT = Critic(work=0.13, misread=0.12, style=0.6, score=0.12, spread=0.5, doubt=0.6)
PERFECT = Critic()


def critique(task: Task, permutation: list[int], rng: random.Random, critic: Critic = IMPERFECT) -> str:
    """One trajectory. `permutation[place]` is the response shown in that place; scores are written in the order shown."""
    wanted = task.wanted
    answers = [response.answer for response in task.responses]
    forced: dict[int, str] = {}
    top = max(task.scores, key=lambda grade: task.scores[grade])
    erred = True
    lures = [i for i, r in enumerate(task.responses) if r.decoy and r.grade != top and r.answer != "none"]
    others = sorted({answer for answer in answers if answer not in (wanted, "none")})
    if lures and rng.random() < critic.style:
        lure = rng.choice(lures)
        if task.family in ("safety", "service"):
            answers[lure] = task.wanted
        elif rng.random() < 0.7:
            wanted = answers[lure] if task.family != "format" else wanted
            forced[lure] = top
        else:
            forced[lure] = top
    elif rng.random() < critic.work and task.family != "service":
        first, how = answers[permutation[0]], rng.random()
        if first not in (wanted, "none") and task.family != "format" and how < 0.25:
            wanted = first
        elif others and task.family != "format" and how < 0.5:
            wanted = rng.choice(others)
        else:
            wanted = _other_wanted(task, rng)
    elif rng.random() < critic.misread:
        at = rng.randrange(len(answers))
        answers[at] = task.misreadings(rng, answers[at])
    else:
        erred = False

    grades = [forced.get(i) or task.grade(wanted, answer) for i, answer in enumerate(answers)]
    scores = _said([task.scores[grade] for grade in grades], erred, critic, rng)
    if rng.random() < critic.score:
        at = rng.randrange(len(scores))
        scores[at] = min(10, max(1, scores[at] + rng.choice([-3, -2, -1, 1, 2, 3])))

    criteria = task.criteria if rng.random() < 0.8 else task.criteria[:1]
    if len(criteria) == 1:
        criteria = [criteria[0].split(" (")[0] + " (100%)"]
    lines = ["Specific Criteria:", *[f"{i + 1}. {text}" for i, text in enumerate(criteria)], "Analysis:", _work(task, wanted)]
    lines += [f"Response {place + 1}: {task.finding(answers[i], grades[i])}." for place, i in enumerate(permutation)]
    lines.append(f"Scores: \\boxed{{{', '.join(str(scores[i]) for i in permutation)}}}")
    return "\n".join(lines)


def _said(scores: list[int], erred: bool, critic: Critic, rng: random.Random) -> list[int]:
    """The scores as this critic puts them. Doubt may make equal scores of unequal ones; the spread changes nothing in who is best alone."""
    if len(scores) < 2:
        return scores
    if erred and rng.random() < critic.doubt:
        by = rng.choice([0.33, 0.66])
        scores = [round(score + by * (5.5 - score)) for score in scores]
    moved = [min(10, max(1, score + (rng.choice([-1, 1]) if rng.random() < critic.spread else 0))) for score in scores]
    best = [at for at, score in enumerate(scores) if score == max(scores)]
    if len(best) > 1:
        return moved
    top = max(2, moved[best[0]])
    return [top if at == best[0] else min(score, top - 1) for at, score in enumerate(moved)]


def _work(task: Task, wanted: str) -> str:
    return f"The reference says: {key(wanted)}." if task.reference is not None else task.work(wanted)


def _other_wanted(task: Task, rng: random.Random) -> str:
    if task.family == "safety":
        return "helps" if task.wanted == "refuses" else "refuses"
    if task.family == "format":
        if task.wanted.isdigit():
            return str(max(2, int(task.wanted) + rng.choice([-1, 1])))
        return task.wanted.replace("has ", "no ") if task.wanted.startswith("has ") else task.wanted.replace("no ", "has ")
    return task.misreadings(rng, task.wanted)
