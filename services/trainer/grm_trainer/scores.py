"""Scores: reads the box of a generation by the cluster's rule (src/grm/parse.ts and box.ts), and the rule of correctness (src/spct/label.ts).

test/golden/scores.json holds texts that both readers must read alike.
"""

from __future__ import annotations

import math
import re

_BLANK = "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
"""White space as JavaScript's \\s has it."""
_S = f"[{_BLANK}]*"
_ASCII = re.ASCII | re.IGNORECASE

_THINK = re.compile(r"<(/?)think(?:ing)?>", _ASCII)
_HEADING = re.compile(r"[ \t#>*_.()\d-]{0,24}(?:final |overall )?scores?[ \t*_]{0,8}(?:[:：]|(?=[\n\r\u2028\u2029])|\Z|(?=\\))", _ASCII)
_SPACE = re.compile(r"\\{1,4}(?:[,;:! ]|q?quad(?![a-zA-Z]))|~")
_LOOK = re.compile(
    r"\\{1,4}(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:bf|it|rm|sf|tt|normal)?|bf|bm|boldsymbol|emph|underline)" + _S + r"\{([^{}]*)\}"
)
_FRACTION = re.compile(r"\\{0,4}[dt]?frac" + _S + r"\{([^{}]*)\}" + _S + r"\{([^{}]*)\}")
_OUT_OF_TEN = re.compile(r"([^/]*?)" + _S + "/" + _S + r"10(?:\.0*)?")
_PLAIN = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?")
_SEPARATOR = re.compile("[,;，；、]")
_DRESS = "".join(map(chr, range(33))) + "*_$\"'`\\\u00a0"
_BOX_CHARS_MAX = 1024
_LOOK_DEPTH_MAX = 4


def read_scores(text: str, n: int, finish: str = "stop") -> list[float] | None:
    """The n scores, each within 1..10, in the order shown; None = an invalid sample.

    They stand in the last readable box of the own score section: after the last line that begins with "Scores:" and has a box after it, or anywhere
    in a text without such a line. What stands before that line never replaces an unreadable box after it. Reasoning is dropped; one that never ends
    makes the sample invalid. `finish`: the engine's word; "length" = cut at the token limit, which must have come after a box of the last section.
    """
    said = _said(text)
    if said is None:
        return None
    last = _box_before(said, len(said))
    heading = _last_heading(said, len(said) if finish == "length" else -1 if last is None else last[0])
    if last is None or (finish == "length" and not 0 <= heading <= last[0]):
        return None
    box: tuple[int, str] | None = last
    while box is not None and (box is last or box[0] > heading):
        if (scores := _read_box(box[1], n)) is not None:
            return scores
        box = _box_before(said, box[0])
    return None


def _said(text: str) -> str | None:
    """What was said, less the reasoning; None when that never ends."""
    start = 0
    tag = _THINK.search(text)
    while tag is not None:
        if tag[1]:
            # Only the first tag of a text can close what the prompt opened; a later one is quoted.
            return text[tag.end() :] if start == 0 else text[start:]
        if text[start : tag.start()].strip(_BLANK):
            break
        close = _THINK.search(text, tag.end())
        while close is not None and not close[1]:
            close = _THINK.search(text, close.end())
        if close is None:
            return None
        start = close.end()
        tag = _THINK.search(text, start)
    return text[start:]


def _last_heading(text: str, before: int) -> int:
    """Where the last line that begins with "Scores:" and begins before `before` stands, or -1."""
    found, line = -1, 0
    while line < before:
        if _HEADING.match(text, line):
            found = line
        end = text.find("\n", line)
        if end < 0:
            break
        line = end + 1
    return found


def _box_before(text: str, end: int) -> tuple[int, str] | None:
    """The last box that begins before `end` and closes before the next one does: where "boxed" begins, and what the box holds."""
    limit, at = end, text.rfind("oxed", 0, end + 4)
    while at > 0:
        brace = at + 4
        while text[brace : brace + 1] == " ":
            brace += 1
        # The backslash is not asked for: escaping may have doubled it, or eaten it together with the b.
        if text[at - 1] in "b\b" and text[brace : brace + 1] == "{":
            close = _close_of(text, brace, limit)
            if close >= 0:
                return at - 1, text[brace + 1 : close]
            limit = at - 1
        at = text.rfind("oxed", 0, at + 3)
    return None


def _close_of(text: str, brace: int, end: int) -> int:
    """Where the brace closes before `end`, or -1."""
    depth = 0
    for at in range(brace, end):
        if text[at] == "{":
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
    return -1


def _read_box(content: str, n: int) -> list[float] | None:
    if len(content) > _BOX_CHARS_MAX:
        return None
    if "\\" in content or "~" in content:
        content = _SPACE.sub(" ", content)
        for _ in range(_LOOK_DEPTH_MAX):
            content = _LOOK.sub(r"\1", content)
        content = _FRACTION.sub(r"\1/\2", content)
    bare = content.strip(_DRESS)
    content = bare[1:-1] if bare[:1] + bare[-1:] in ("[]", "()", "{}") else content
    scores = [_read_score(item) for item in _SEPARATOR.split(content)]
    if len(scores) != n or not all(score is not None and 1 <= score <= 10 for score in scores):
        return None
    return scores


def _read_score(item: str) -> float | None:
    """The number that one place of a list holds: 8, 8.5, 8/10."""
    bare = item.strip(_DRESS)
    if out_of_ten := _OUT_OF_TEN.fullmatch(bare):
        bare = out_of_ten[1].strip(_DRESS)
    score = float(bare) if _PLAIN.fullmatch(bare) else math.nan
    return score if math.isfinite(score) else None


def unshuffle(shown: list[float], permutation: list[int]) -> list[float]:
    """Scores in the item's order."""
    scores = [0.0] * len(permutation)
    for place, i in enumerate(permutation):
        scores[i] = shown[place]
    return scores


def is_correct(scores: list[float], labels: list[float]) -> bool:
    """Of one sample. n >= 2: the best response is strictly above every other; n = 1: the score is the label."""
    if len(labels) == 1:
        return scores[0] == labels[0]
    best = labels.index(max(labels))
    return all(scores[best] > score for i, score in enumerate(scores) if i != best)


def vote_is_correct(scores: list[float], labels: list[float]) -> bool:
    """Of the mean scores of a vote: as is_correct, but for n = 1 the mean is within 0.5 of the label."""
    return abs(scores[0] - labels[0]) < 0.5 if len(labels) == 1 else is_correct(scores, labels)


def judged_correct(text: str, labels: list[float], permutation: list[int], finish: str = "stop") -> bool:
    """Of one generation; an invalid one is incorrect."""
    shown = read_scores(text, len(labels), finish)
    return shown is not None and is_correct(unshuffle(shown, permutation), labels)
