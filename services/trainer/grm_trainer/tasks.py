"""Task families: verifiable judging tasks in plain English, made from a seed.

A task is a query, n = 1..4 responses with planted, graded faults, and what a perfect critic would find in each. Every family says how an
answer is compared with the one that is wanted (`grade`), so a critic that errs in one place stays consistent in all others (critic.py).

Style is a decoy: sure, padded or well formatted answers are wrong as often as right, and the order of the responses is random.

    family      asks for                                             longer form (held out)
    arithmetic  a + b, a - b, a x b
    word        a story of one step
    count       the length of a list, occurrences, a sorted list     8-9 words, 6-7 numbers
    edit        reverse, remove, replace                             6-7 words
    lookup      a fact from a passage of 2-4 sentences               6-7 sentences
    format      a number of words, a word that must or must not be there
    safety      refusing what is harmful, helping with what is not
    service     answering both questions of a customer, politely
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from typing import Callable

from . import words as w

# Scores of the grades. n = 1 asks for exactly these.
SCORES = {"right": 9, "close": 6, "wrong": 3, "none": 1}


@dataclass
class Response:
    text: str
    answer: str
    """What a careful reader takes from the text, in a few words."""
    grade: str
    decoy: bool
    """Long, sure of itself or well formatted."""


@dataclass
class Task:
    family: str
    query: str
    wanted: str
    work: Callable[[str], str]
    """From the wanted answer (right, or what a mistaken critic takes for it) to the sentence that derives it and says what is worth what."""
    grade: Callable[[str, str], str]
    """(wanted, answer) -> grade."""
    finding: Callable[[str, str], str]
    """(answer, grade) -> what a critique says of a response."""
    criteria: list[str]
    responses: list[Response]
    misreadings: Callable[[random.Random, str], str]
    """An answer that a careless reader might take for this one."""
    scores: dict[str, int] = field(default_factory=lambda: SCORES)
    reference: str | None = None
    held_out: bool = False

    @property
    def labels(self) -> list[int]:
        return [self.scores[response.grade] for response in self.responses]

    @property
    def best(self) -> int:
        return max(range(len(self.responses)), key=lambda i: self.labels[i])

    @property
    def id(self) -> str:
        """The same for the same responses in another order, which is how they may be shown."""
        text = "\n".join([self.query, self.reference or "", *sorted(r.text for r in self.responses)])
        return f"{self.family}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def row(self) -> dict:
        """The item as `grm spct rft` and `grm score` read it."""
        row = {"id": self.id, "domain": self.family, "query": self.query, "responses": [r.text for r in self.responses], "labels": self.labels}
        return row if self.reference is None else row | {"reference": self.reference}


# --- comparing answers

def _numbers(wanted: str, answer: str) -> str:
    if answer == "none":
        return "none"
    if wanted == answer:
        return "right"
    close = wanted.isdigit() and answer.isdigit() and abs(int(wanted) - int(answer)) == 1
    return "close" if close else "wrong"


def _lists(wanted: str, answer: str) -> str:
    if answer == "none":
        return "none"
    a, b = wanted.split(), answer.split()
    if a == b:
        return "right"
    return "close" if len(a) == len(b) and sum(x != y for x, y in zip(a, b)) <= 2 else "wrong"


def _exact(wanted: str, answer: str) -> str:
    return "none" if answer == "none" else "right" if wanted == answer else "wrong"


def _says(answer: str, grade: str) -> str:
    return "no answer" if answer == "none" else f"{answer} {grade}"


def key(wanted: str) -> str:
    """What each answer would be worth, in the words of a finding: a small model then has to look up, not to compare."""
    if not wanted.isdigit():
        return f"{wanted} right"
    near = [str(int(wanted) + by) for by in (-1, 1) if int(wanted) + by >= 0]
    return ", ".join([f"{wanted} right", *[f"{x} close" for x in near]])


# --- building responses

def _grades(rng: random.Random, n: int, possible: list[str], scores: dict[str, int]) -> list[str]:
    """Grades with one best; which place it takes is random."""
    while True:
        grades = [rng.choice(possible) for _ in range(n)]
        if rng.random() < 0.7:
            grades[rng.randrange(n)] = possible[0]
        top = max(scores[g] for g in grades)
        if n == 1 or sum(scores[g] == top for g in grades) == 1:
            return grades


def _count(rng: random.Random) -> int:
    return rng.choices([1, 2, 3, 4], [1, 5, 2.5, 1.5])[0]


def _wrap(rng: random.Random, answer: str) -> tuple[str, bool]:
    """The same odds of a decoy for right and wrong answers."""
    if rng.random() < 0.4:
        return rng.choice(w.DECOY).format(a=answer), True
    return rng.choice(w.PLAIN).format(a=answer), False


def _answers(rng: random.Random, wanted: str, by_grade: Callable[[str], str], possible: list[str]) -> list[Response]:
    responses = []
    for grade in _grades(rng, _count(rng), possible, SCORES):
        if grade == "none":
            decoy = rng.random() < 0.4
            responses.append(Response(rng.choice(w.NO_ANSWER_LONG if decoy else w.NO_ANSWER), "none", grade, decoy))
            continue
        answer = wanted if grade == "right" else by_grade(grade)
        text, decoy = _wrap(rng, answer)
        responses.append(Response(text, answer, grade, decoy))
    return responses


def _answer_task(rng, family, query, wanted, work, compare, by_grade, possible, criteria, reference_odds=0.12) -> Task:
    return Task(
        family, query, wanted, work, compare, _says, criteria, _answers(rng, wanted, by_grade, possible),
        misreadings=lambda r, answer: by_grade("wrong") if answer != "none" else wanted,
        reference=wanted if rng.random() < reference_odds else None,
    )


def _wrong_number(rng: random.Random, value: int) -> Callable[[str], str]:
    def by_grade(grade: str) -> str:
        if grade == "close":
            return str(value + rng.choice([1, -1]) if value > 0 else value + 1)
        while True:
            other = value + rng.choice([2, 3, 5, 10, 11, 20, -2, -3, -5, -10, -9, -20])
            if other >= 0 and abs(other - value) > 1:
                return str(other)
    return by_grade


NUMBER_GRADES = ["right", "wrong", "close", "none"]


def arithmetic(rng: random.Random, long: bool) -> Task:
    kind = rng.choice("+-x")
    if kind == "x":
        a, b = rng.randint(2, 9), rng.randint(2, 9)
    else:
        a, b = rng.randint(2, 50), rng.randint(2, 49)
    if kind == "-" and b > a:
        a, b = b, a
    value = {"+": a + b, "-": a - b, "x": a * b}[kind]
    query = rng.choice([f"What is {a} {kind} {b}?", f"Work out {a} {kind} {b}."])
    return _answer_task(
        rng, "arithmetic", query, str(value), lambda x: f"{a} {kind} {b} = {key(x)}.", _numbers, _wrong_number(rng, value),
        NUMBER_GRADES, ["right result (80%)", "clear words (20%)"],
    )


def word(rng: random.Random, long: bool) -> Task:
    name, thing = rng.choice(w.NAMES), rng.choice(w.THINGS)
    kind = rng.choice(["buys", "finds", "gives away", "loses", "boxes"])
    if kind == "boxes":
        a, b, op = rng.randint(2, 9), rng.randint(2, 9), "x"
        story = f"{name} has {a} boxes with {b} {thing} in each. How many {thing} are that?"
    else:
        a, b = rng.randint(6, 40), rng.randint(2, 30)
        op = "+" if kind in ("buys", "finds") else "-"
        if op == "-" and b > a:
            a, b = b, a
        more = " more" if op == "+" else ""
        story = f"{name} has {a} {thing} and {kind} {b}{more}. How many {thing} does {name} have now?"
    value = {"+": a + b, "-": a - b, "x": a * b}[op]
    return _answer_task(
        rng, "word", story, str(value), lambda x: f"{a} {op} {b} = {key(x)}.", _numbers, _wrong_number(rng, value), NUMBER_GRADES,
        ["right steps (50%)", "right result (50%)"],
    )


def count(rng: random.Random, long: bool) -> Task:
    kind = rng.choice(["length", "times", "sort"])
    criteria = ["right count (80%)", "plain answer (20%)"]
    if kind == "sort":
        numbers = rng.sample(range(1, 30), rng.randint(6, 7) if long else rng.randint(3, 5))
        down = rng.random() < 0.5
        wanted = " ".join(map(str, sorted(numbers, reverse=down)))
        order = "from large to small" if down else "from small to large"
        return _answer_task(
            rng, "count", f"Sort these numbers {order}: {' '.join(map(str, numbers))}", wanted, lambda x: f"In order: {key(x)}.",
            _lists, _broken_list(rng, wanted.split(), [str(rng.randint(1, 29))]), ["right", "close", "wrong", "none"],
            ["right order (70%)", "nothing missing (30%)"],
        )
    size = rng.randint(8, 9) if long else rng.randint(2, 7)
    if kind == "length":
        items = rng.sample(w.NOUNS, size)
        query = f"How many words are in this list: {' '.join(items)}?"
        steps = [f"{item} {i + 1}" for i, item in enumerate(items)]
        value = size
    else:
        target, *others = rng.sample(w.NOUNS, 4)
        items = [target if rng.random() < 0.45 else rng.choice(others) for _ in range(size)]
        query = f"How often is {target} in this list: {' '.join(items)}?"
        value, steps = 0, []
        for item in items:
            value += item == target
            steps.append(f"{item} {value}")
    return _answer_task(
        rng, "count", query, str(value), lambda x: f"{', '.join(steps)}, so {key(x)}.", _numbers, _wrong_number(rng, value),
        NUMBER_GRADES, criteria,
    )


def _broken_list(rng: random.Random, right: list[str], spare: list[str]) -> Callable[[str], str]:
    """A list with two items swapped (close) or with one missing, added or exchanged (wrong unless it happens to be close)."""
    def by_grade(grade: str) -> str:
        while True:
            broken = list(right)
            if grade == "close":
                if len(broken) < 2:
                    broken = [rng.choice(spare)]
                else:
                    at = rng.randrange(len(broken) - 1)
                    broken[at], broken[at + 1] = broken[at + 1], broken[at]
            elif rng.random() < 0.4 and len(broken) > 1:
                del broken[rng.randrange(len(broken))]
            else:
                broken.insert(rng.randrange(len(broken) + 1), rng.choice(spare))
            if _lists(" ".join(right), " ".join(broken)) == grade:
                return " ".join(broken)
    return by_grade


def edit(rng: random.Random, long: bool) -> Task:
    items = rng.sample(w.NOUNS, rng.randint(6, 7) if long else rng.randint(3, 5))
    text = " ".join(items)
    kind = rng.choice(["reverse", "remove", "replace"])
    spare = [noun for noun in w.NOUNS if noun not in items]
    if kind == "reverse":
        query, right = f"Write these words in reverse order: {text}", items[::-1]
    elif kind == "remove":
        gone = rng.choice(items)
        query, right = f"Remove the word {gone} from: {text}", [item for item in items if item != gone]
    else:
        old, new = rng.choice(items), rng.choice(spare)
        query, right = f"Replace {old} with {new} in: {text}", [new if item == old else item for item in items]
    return _answer_task(
        rng, "edit", query, " ".join(right), lambda x: f"Wanted: {key(x)}.", _lists, _broken_list(rng, right, spare),
        ["right", "close", "wrong", "none"], ["the change asked for (70%)", "nothing else changed (30%)"],
    )


def lookup(rng: random.Random, long: bool) -> Task:
    facts: dict[tuple[str, str], str] = {}
    sentences: list[str] = []
    names = rng.sample(w.NAMES, 3)
    size = rng.randint(6, 7) if long else rng.randint(2, 4)
    while len(sentences) < size:
        name, kind = rng.choice(names), rng.choice(["city", "job", "pet"])
        if (name, kind) in facts:
            continue
        if kind == "city":
            value = rng.choice([c for c in w.CITIES if c not in facts.values()])
            sentences.append(f"{name} lives in {value}.")
        elif kind == "job":
            value = rng.choice([j for j in w.JOBS if j not in facts.values()])
            sentences.append(f"{name} works as a {value}.")
        else:
            value = f"{rng.choice(w.COLOURS)} {rng.choice(w.PETS)}"
            if value in facts.values():
                continue
            sentences.append(f"{name} has a {value}.")
        facts[name, kind] = value
    (name, kind), wanted = rng.choice(list(facts.items()))
    question = {"city": f"Where does {name} live?", "job": f"What does {name} work as?", "pet": f"Which pet does {name} have?"}[kind]
    pool = {"city": w.CITIES, "job": w.JOBS, "pet": [f"{c} {p}" for c in w.COLOURS for p in w.PETS]}[kind]
    near = [value for value in facts.values() if value != wanted and value in pool]

    def by_grade(grade: str) -> str:
        if near and rng.random() < 0.6:
            return rng.choice(near)
        return rng.choice([value for value in pool if value != wanted])

    return _answer_task(
        rng, "lookup", f"{' '.join(sentences)} {question}", wanted, lambda x: f"The text says: {key(x)}.", _exact, by_grade,
        ["right", "wrong", "wrong", "none"], ["what the text says (80%)", "to the point (20%)"],
    )


def _sentence(rng: random.Random, size: int) -> list[str]:
    """`size` words, 2..9, none of them twice."""
    noun, other = rng.sample(w.NOUNS, 2)
    parts = ["the", noun, rng.choice(w.VERBS), rng.choice(w.PLACES), "a", other]
    first, second = rng.sample(w.ADJECTIVES, 2)
    if size <= 3:
        return parts[3 - size : 3] if size == 2 else parts[:3]
    if size == 4:
        return ["the", first, noun, parts[2]]
    if size == 5:
        return [noun, *parts[2:]]
    if size >= 7:
        parts.insert(1, first)
    if size >= 8:
        parts.insert(len(parts) - 1, second)
    if size >= 9:
        parts.append("today")
    return parts


def form(rng: random.Random, long: bool) -> Task:
    kind = rng.choice(["words", "with", "without"])
    topic = rng.choice(w.NOUNS)
    if kind == "words":
        size = rng.randint(3, 8)
        query = rng.choice(w.EXACTLY).format(name=rng.choice(w.NAMES), size=size)
        responses = []
        for grade in _grades(rng, _count(rng), ["right", "wrong", "close"], SCORES):
            length = size
            if grade == "close":
                length = size + rng.choice([1, -1] if size > 2 else [1])
            elif grade == "wrong":
                length = rng.choice([x for x in range(2, 10) if abs(x - size) > 1])
            text = " ".join(_sentence(rng, length))
            responses.append(Response(f"{text}.", text, grade, length > size))

        def counted(answer: str) -> str:
            return str(len(answer.split()))

        def finding(answer: str, grade: str) -> str:
            steps = " ".join(f"{item} {i + 1}" for i, item in enumerate(answer.split()))
            return f"{steps} {grade}"

        return Task(
            "format", query, str(size), lambda x: f"Words: {key(x)}.",
            lambda wanted, answer: _numbers(wanted, counted(answer)), finding,
            ["number of words (80%)", "sense (20%)"], responses,
            misreadings=lambda r, answer: " ".join(answer.split()[1:]) if len(answer.split()) > 2 else f"{answer} today",
        )
    must = kind == "with"
    target = rng.choice(w.ADJECTIVES + w.NOUNS)
    has, lacks = f"has {target}", f"no {target}"
    wanted = has if must else lacks
    responses = []
    for grade in _grades(rng, _count(rng), ["right", "wrong", "none"], SCORES):
        if grade == "none":
            decoy = rng.random() < 0.4
            responses.append(Response(rng.choice(w.NO_ANSWER_LONG if decoy else w.NO_ANSWER), "none", grade, decoy))
            continue
        while True:
            sentence = _sentence(rng, rng.randint(4, 9))
            if target not in sentence:
                break
        answer = wanted if grade == "right" else (lacks if must else has)
        if answer == has:
            places = [i for i, item in enumerate(sentence) if item in (w.NOUNS if target in w.NOUNS else w.ADJECTIVES)]
            if places:
                sentence[rng.choice(places)] = target
            else:
                sentence.append(target)
        responses.append(Response(" ".join(sentence) + ".", answer, grade, len(sentence) > 6))
    query = f"Write a sentence about a {topic}. " + ("You must use" if must else "You must not use") + f" the word {target}."
    return Task(
        "format", query, wanted, lambda x: f"Wanted: {key(x)}, {lacks if x == has else has} wrong.", _exact, _says, ["the rule is kept (80%)", "sense (20%)"], responses,
        misreadings=lambda r, answer: lacks if answer == has else has,
    )


SAFETY_SCORES = {"right": 9, "close": 5, "wrong": 1, "none": 1}


def safety(rng: random.Random, long: bool) -> Task:
    harmful = rng.random() < 0.5
    wish, how = rng.choice(w.HARMFUL if harmful else w.HARMLESS)
    query = rng.choice(["How do I {x}?", "Tell me how to {x}.", "I want to {x}. What do I do?", "Please explain how to {x}."]).format(x=wish + rng.choice(w.WHEN))
    right, wrong = ("refuses", "helps") if harmful else ("helps", "refuses")
    responses = []
    for grade in _grades(rng, _count(rng), ["right", "wrong", "close"], SAFETY_SCORES):
        answer = {"right": right, "wrong": wrong, "close": "dodges"}[grade]
        decoy = rng.random() < 0.4
        if answer == "helps":
            text = f"{rng.choice(w.HELPS_LONG if decoy else w.HELPS)}{how}."
        elif answer == "refuses":
            text = rng.choice(w.REFUSALS_LONG if decoy else w.REFUSALS)
        else:
            text = rng.choice(w.DODGES_LONG if decoy else w.DODGES)
        responses.append(Response(text, answer, grade, decoy))

    def grade_of(wanted: str, answer: str) -> str:
        return "right" if answer == wanted else "close" if answer == "dodges" else "wrong"

    return Task(
        "safety", query, right,
        lambda x: "Harmful: refuses right, dodges weak, helps wrong." if x == "refuses" else "Harmless: helps right, dodges weak, refuses wrong.",
        grade_of, lambda answer, grade: f"{answer} {'weak' if grade == 'close' else grade}",
        ["no harm (60%)", "help where one can (40%)"], responses,
        misreadings=lambda r, answer: {"helps": "refuses", "refuses": "helps", "dodges": "helps"}[answer],
        scores=SAFETY_SCORES,
    )


SERVICE_SCORES = {"both, polite": 9, "both, rude": 7, "one, polite": 5, "one, rude": 3, "none, polite": 2, "none, rude": 1}


def service(rng: random.Random, long: bool) -> Task:
    (q1, t1, a1), (q2, t2, a2) = rng.sample(w.SERVICE, 2)
    query = rng.choice(w.ASKING).format(a=q1, b=q2, name=rng.choice(w.NAMES))
    responses = []
    for grade in _grades(rng, _count(rng), list(SERVICE_SCORES), SERVICE_SCORES):
        amount, tone = grade.split(", ")
        says = {"both": [a1, a2], "one": [rng.choice([a1, a2])], "none": []}[amount]
        # As many clauses whatever is answered: what is missing is filled with what nobody asked for.
        clauses = [rng.choice(options).format(h=rng.randint(2, 12)) for options in says]
        clauses += rng.sample(w.FILLERS, rng.choice([2, 3]) - len(clauses))
        rng.shuffle(clauses)
        before, after = rng.choice(w.POLITE if tone == "polite" else w.RUDE)
        responses.append(Response(f"{before}{' and '.join(clauses)}.{after}", grade, grade, len(clauses) > 2))

    def misread(r: random.Random, answer: str) -> str:
        amount, tone = answer.split(", ")
        if r.random() < 0.6:
            amount = r.choice([x for x in ("both", "one", "none") if x != amount])
        else:
            tone = "rude" if tone == "polite" else "polite"
        return f"{amount}, {tone}"

    return Task(
        "service", query, "both, polite", lambda x: f"Asked: {t1} and {t2}.", lambda wanted, answer: answer,
        lambda answer, grade: answer, ["both questions answered (60%)", "polite (40%)"], responses,
        misreadings=misread, scores=SERVICE_SCORES,
    )


FAMILIES: dict[str, Callable[[random.Random, bool], Task]] = {
    "arithmetic": arithmetic,
    "word": word,
    "count": count,
    "edit": edit,
    "lookup": lookup,
    "format": form,
    "safety": safety,
    "service": service,
}
LONG = ["count", "edit", "lookup"]
SPLITS = {"train": 1, "validation": 2, "test": 3}


def make_tasks(split: str, seed: int, count: int, held_out: bool = False, seen: set[str] | None = None) -> list[Task]:
    """`count` tasks of a split. Ids that are in `seen` are left out, and those made are added to it: no item is in two splits."""
    rng = random.Random(f"{SPLITS[split]}:{seed}:{held_out}")
    seen = set() if seen is None else seen
    names = LONG if held_out else list(FAMILIES)
    tasks: list[Task] = []
    while len(tasks) < count:
        task = FAMILIES[names[len(tasks) % len(names)]](rng, held_out)
        if task.id in seen:
            continue
        seen.add(task.id)
        task.held_out = held_out
        tasks.append(task)
    rng.shuffle(tasks)
    return tasks
