"""Reasoning: drops what a model thinks before it answers, by the cluster's rule (src/grm/reasoning.ts)."""

from __future__ import annotations

import json
from pathlib import Path

import regex as re

WORDS = json.loads((Path(__file__).parent / "score_words.json").read_text(encoding="utf-8"))
"""Written by the cluster's tests (test/unit/grm/scores-golden.test.ts) from src/grm/score-words.ts and reasoning.ts."""

_LINE_CHARS_MAX = 256
_CLOSE_OF: dict[str, str | None] = {}
for _pair in WORDS["reasoning"]:
    _CLOSE_OF[_pair["close"].lower()] = None
    _CLOSE_OF[_pair["open"].lower()] = _pair["close"].lower()
_FIND = re.compile("|".join(re.escape(word) for word in sorted(_CLOSE_OF, key=len, reverse=True)), re.I)

_STRIPPED_HARMONY = re.compile(r"\s*analysis(?=[^\s:：*_#.,)])")
_HARMONY_FINAL = re.compile(r"assistant\s{0,2}final(?=[^a-z]|\Z)")
_STRIPPED_GEMMA = re.compile(r"\s*thought\n")
_MESSAGE_HEAD = re.compile(r"\s*(?:<\|start\|>\s*assistant\s*)?", re.I)


def without_reasoning(text: str) -> str | None:
    """What was said, less the reasoning; None when that never ends."""
    if _STRIPPED_GEMMA.match(text):
        return None
    if text.lstrip().startswith("analysis"):
        ends = [found.end() for found in _HARMONY_FINAL.finditer(text)]
        if ends:
            return text[ends[-1] :]
        if _STRIPPED_HARMONY.match(text):
            return None
    ink_end = len(text.rstrip())
    said, start, wanted, quoted_open = "", _MESSAGE_HEAD.match(text).end(), None, -1
    for found in _FIND.finditer(text):
        marker, at = found[0].lower(), found.start()
        close = _CLOSE_OF[marker]
        if wanted is not None:
            # A closing marker that the reasoning quotes ends nothing: what follows is a draft.
            if marker == wanted and not _is_quoted(text, at, found.end(), ink_end):
                wanted, start = None, found.end()
        elif close is not None:
            if not _begins_line(text, at, start):
                quoted_open = at
                continue
            said, wanted = said + text[start:at], close
        elif not (quoted_open >= 0 and _same_line(text, quoted_open, at)) and not _is_quoted(text, at, found.end(), ink_end):
            said, start = "", found.end()
        else:
            quoted_open = -1
    return None if wanted is not None else said + text[start:]


def _begins_line(text: str, at: int, start: int) -> bool:
    first = max(start, at - _LINE_CHARS_MAX)
    before = text[first:at]
    line = re.sub(r"<\|(?:start|end)\|>|assistant\s*\Z", "", before[before.rfind("\n") + 1 :])
    return line.strip() == "" and (first == start or "\n" in before)


def _same_line(text: str, start: int, end: int) -> bool:
    return end - start <= _LINE_CHARS_MAX and "\n" not in text[start:end]


def _is_quoted(text: str, at: int, end: int, ink_end: int) -> bool:
    before = text[max(0, at - _LINE_CHARS_MAX) : at]
    line, after = before[before.rfind("\n") + 1 :], text[end : end + 16]
    if re.search(r"""["'`“‘«「『(]\Z""", line) and re.match(r"""["'`”’»」』)]""", after):
        return True
    if not re.search(r"[\p{L}\p{N},:;—-][ \t]{1,8}\Z", line):
        return False
    return end >= ink_end or re.match(r"[.,;:!?)…。，、]|[ \t]{1,8}\p{Ll}", after) is not None
