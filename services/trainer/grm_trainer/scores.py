"""Scores: reads the box of a generation by the cluster's rule (src/grm/parse.ts and box.ts), and the rule of correctness (src/spct/label.ts).

test/golden/scores.json holds texts that both readers must read alike.
"""

from __future__ import annotations

import math
import re

from .reasoning import without_reasoning
from .score_section import own_scores

_BLANK = "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
"""White space as JavaScript's \\s has it."""
_S = f"[{_BLANK}]*"

_SPACE = re.compile(
    r"\\{1,4}(?:[,;:!> ]|(?:q?quad|enspace|enskip|(?:neg)?(?:thin|med|thick)space|nobreakspace|space|left|right|[bB]igg?[lrm]?|displaystyle|textstyle"
    r"|bf|bfseries|boldmath|rm|it|tt|normalsize|large|Large|LARGE|huge|Huge)(?![a-zA-Z])|hspace" + _S + r"\*?" + _S + r"\{[^{}]*\})|~"
)
_CLOSE_COMMA = re.compile(r"\{([,;])\}")
_LOOK = re.compile(
    r"\\{1,4}(?:text(?:bf|it|rm|sf|tt|sl|sc|up|md|normal)?|math(?:bf|it|rm|sf|tt|normal)?|bf|bm|boldsymbol|emph|underline|[mhf]box|framebox|ensuremath)"
    + _S
    + r"\{([^{}]*)\}"
)
_FRACTION = re.compile(r"\\{0,4}[dt]?frac" + _S + r"\{([^{}]*)\}" + _S + r"\{([^{}]*)\}")
_GROUP = re.compile(r"\{([^{}]*)\}")
_INVISIBLE = re.compile("[\ufe0e-\ufe0f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x2212: ord("-")}
_OUT_OF_TEN = re.compile(r"([^/]*?)" + _S + "/" + _S + r"10(?:\.0*)?")
_PLAIN = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?")
_SEPARATOR = re.compile("[,;，；、]")
_DRESS = "".join(map(chr, range(33))) + _BLANK + "*_$\"'`\\\u00a0\u201c\u201d"
_BOX_CHARS_MAX = 1024
_LOOK_DEPTH_MAX = 4

_ENDED = frozenset("stop eos eostoken eosfound endturn endofturn stopsequence stopword stopstring stoptoken complete completed finish finished finishreasonstop done".split())
"""Finish reasons that mean that the model ended by itself (src/grm/finish.ts)."""


def read_scores(text: str, n: int, finish: str = "stop") -> list[float] | None:
    """The n scores, each within 1..10, in the order shown; None = an invalid sample.

    They stand in the judge's own score section (score_section.py). Reasoning is dropped; one that never ends makes the sample invalid. `finish`: the
    engine's word; one that does not say that the model ended ("length": the token limit) asks for scores after a score heading.
    """
    said = without_reasoning(text.replace("\r\n", "\n"))
    if said is None:
        return None
    word = re.sub("[-_ ]", "", finish.strip().lower())
    return own_scores(said, n, word not in _ENDED and word not in ("", "null", "none"), lambda content: _read_box(content, n))


def _read_box(content: str, n: int) -> list[float] | None:
    if len(content) > _BOX_CHARS_MAX:
        return None
    content = _INVISIBLE.sub("", content).translate(_FULL_WIDTH)
    content = _CLOSE_COMMA.sub(r"\1", _SPACE.sub(" ", content))
    for _ in range(_LOOK_DEPTH_MAX):
        content = _LOOK.sub(r"\1", content)
    content = _GROUP.sub(r" \1 ", _FRACTION.sub(r"\1/\2", content))
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
