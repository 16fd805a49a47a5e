"""Score section: which box of a text is the judge's own, by the cluster's rule (src/grm/score-section.ts, which tells why)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import regex as re

from .reasoning import WORDS

_FLAGS = {"": 0, "i": re.I, "im": re.I | re.M}
_SAY = {name: re.compile(each["source"], _FLAGS[each["flags"]]) for name, each in WORDS["patterns"].items()}

_BOXES_MAX, _LINE, _LABEL, _WORDS, _OPENINGS_MAX = 64, 240, 40, 24, 4
_OPENING = re.compile(r"(?:\\(?:f|frame)box|[b\b]oxed)[ \t\u00a0\u2000-\u200f\u202f\u2060\u3000\ufeff]{0,8}\{")
_IN_WORD = re.compile(r"[\p{L}\p{M}\p{N}]\Z|[\p{L}\p{N}][-_]\Z")
_BETWEEN = re.compile(r"(?:```\w{0,12}\n|~~~\w{0,12}\n|\\{1,2}[\[(]|[\s$*_`>|\"(\[{\u00a0\u200b-\u200f\u2060]){0,64}\Z")
_CLOSER = re.compile(r"[\s\p{P}$`|~+=<>^]*\Z|\s*[\[<(【].{0,80}[\]>)】]\s*\Z")
_CLOSING_LABEL = re.compile(r"(?:my |the |final |overall ){0,3}(?:output|final|verdict|decision|judge?ment)[\s*_]{0,4}[:：]?[\s*_]{0,4}\Z", re.I)
_SENTENCE = re.compile(r"(?:^|[.!?。！？；][\"”)\]*_]{0,3}\s+|[。！？；])([^.!?。！？；]*(?:[.!?](?!\s)[^.!?。！？；]*)*)\Z")
_OPEN_END = re.compile(
    r"(?:with|that|this|these|the|an?|as|by|to|of|and|or|is|are|was|were|like|lines?|text|following|below|from|for|namely|in)\Z"
)

ReadBox = Callable[[str], "list[float] | None"]


@dataclass(frozen=True)
class Box:
    at: int
    end: int
    content: str


@dataclass(frozen=True)
class Heading:
    at: int
    end: int
    set_off: bool


def own_scores(text: str, n: int, cut: bool, read_box: ReadBox) -> list[float] | None:
    """The scores that the judge itself gave, in the order shown; None when there are none, or in doubt."""
    boxes = find_boxes(text)
    if not boxes:
        return None
    heading, section_end = _lay_out(text)
    last_line = _last_line(text)
    closing = None if cut else _closing_heading(text, n, boxes[-1], heading, last_line)
    if closing is not None:
        heading, section_end = closing, len(text)
    if boxes[-1].at < heading.at if heading is not None else cut:
        return None
    section = _own_boxes(text, n, cut, boxes, heading, section_end, last_line)
    for box, voice in section:
        scores = None if voice == "other" else read_box(box.content)
        if scores is not None:
            later = [each for each, _ in section if each.at > box.at]
            doubt = _in_doubt(text, cut, heading, section_end, box, voice, scores, later, read_box)
            return None if doubt else scores
    return None


def find_boxes(text: str) -> list[Box]:
    starts: list[tuple[int, int]] = []
    for found in _OPENING.finditer(text):
        at = found.start()
        while at > 0 and text[at - 1] == "\\":
            at -= 1
        if not (at == found.start() and found[0][0] == "b" and _IN_WORD.search(text[max(0, at - 4) : at])):
            starts.append((at, found.end() - 1))
    boxes = []
    for place, (at, brace) in enumerate(starts):
        limit = starts[place + 1][0] if place + 1 < len(starts) else len(text)
        close = _close_of(text, brace, limit)
        if close >= 0:
            boxes.append(Box(at, close + 1, text[brace + 1 : close]))
    return boxes


def _close_of(text: str, brace: int, end: int) -> int:
    depth = 0
    for at in range(brace, end):
        if text[at] == "{":
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
    return -1


def _lay_out(text: str) -> tuple[Heading | None, int]:
    """The last score heading, and where the part after it begins."""
    last, section_end, fenced, whole_is_fenced, indented_before, line = None, len(text), False, False, True, 0
    while True:
        indented = text.startswith("    ", line) or re.match(r" {0,3}\t", text[line : line + 4]) is not None
        if re.match(r"[ \t]{0,8}(?:```|~~~)", text[line : line + 12]):
            fenced = not fenced
            whole_is_fenced = whole_is_fenced or (fenced and text[:line].strip() == "")
        found = _SAY["heading"].match(text, line)
        if found and (found[3] is not None or found[4] is not None):
            last, section_end = Heading(line, found.end(), (fenced and not whole_is_fenced) or (indented and not indented_before)), len(text)
        elif found and last is not None:
            section_end = min(section_end, line)
        if text[line : line + 1] != "\n":
            indented_before = indented
        end = text.find("\n", line)
        if end < 0:
            return last, section_end
        line = end + 1


def _closing_heading(text: str, n: int, last: Box, heading: Heading | None, last_line: int) -> Heading | None:
    if last.end < last_line or last.at <= (heading.end if heading else -1):
        return None
    prefix = _prefix(text, last.at)
    start = last.at - len(prefix)
    label = _undress(prefix)
    if label:
        return Heading(start, last.at, False) if _CLOSING_LABEL.match(label) else None
    line, _ = _line_before(text, start)
    words = _undress(line)
    if not (re.match(r"\s{0,3}#{1,6}\s", line) or _CLOSING_LABEL.match(words)) or len(words) > _LABEL:
        return None
    if _SAY["judged"].search(words) or (n == 1 and _SAY["solution"].search(words)):
        return None
    at = text.rfind(line, 0, start + len(line))
    return Heading(at, at + len(line), False) if at > (heading.at if heading else -1) else None


def _own_boxes(
    text: str, n: int, cut: bool, boxes: list[Box], heading: Heading | None, section_end: int, last_line: int
) -> list[tuple[Box, str]]:
    start = min(heading.end if heading else last_line, last_line)
    candidates = [box for box in boxes if box.at >= start]
    if len(candidates) > _BOXES_MAX:
        return []
    section: list[tuple[Box, str]] = []
    attachable = heading.end if heading else -1
    for box in candidates:
        inside = heading is not None and heading.end <= box.at < section_end
        if not inside and box.at < last_line:
            continue
        if inside and attachable >= 0 and _BETWEEN.match(text[attachable : box.at]):
            section.append((box, "attached"))
        else:
            section.append((box, "other" if cut and not inside else _voice(text, box, n, heading is not None)))
        attachable = -1
    return section


def _last_line(text: str) -> int:
    end = len(text)
    while end > 0:
        at = text.rfind("\n", 0, end) + 1
        line = text[max(at, end - 2 * _LINE) : end]
        if "ox" in line or not _CLOSER.match(line):
            return at
        end = at - 1
    return 0


def _prefix(text: str, at: int, start: int = 0) -> str:
    before = text[max(start, at - _LINE) : at]
    return before[before.rfind("\n") + 1 :]


def _voice(text: str, box: Box, n: int, headed: bool) -> str:
    prefix = _prefix(text, box.at)
    if re.match(r"\s{0,8}>", prefix) or _quote_open(prefix) or re.search(r"(?:^|[^\\0-9])%", prefix):
        return "other"
    clause = _undress(_last_sentence(prefix))
    rest = _rest_of_line(text, box.end)
    if clause:
        return "own" if _own_sentence(clause, n) and not _quoted_rest(rest) else "other"
    if headed:
        return "alone"
    if re.search(r"\p{L}{2}.{0,80}\p{L}{2}", re.sub(r"(?i)(?:^|\s)%.*|</?[a-z_]{1,20}>", "", rest)):
        return "other"
    introduction, _ = _line_before(text, box.at - len(prefix))
    return "other" if _introduces(introduction, False) or (n == 1 and _concludes(introduction, box)) else "alone"


def _concludes(line: str, box: Box) -> bool:
    sentence = _last_sentence(re.sub(r"[\s*_`]{1,16}\Z", "", line))
    if _SAY["scoreWord"].search(sentence) or _SAY["gives"].search(sentence):
        return False
    if re.search(r"[\p{L},，]\Z", sentence):
        return _SAY["solution"].search(sentence) is not None
    if re.search(r"[:：=]\Z", sentence):
        return _SAY["solution"].search(sentence) is not None or re.search(r"\s", _undress(sentence)) is not None
    return re.sub(r"[.$\s)]{1,8}\Z", "", sentence).endswith(f" {box.content}")


def _own_sentence(clause: str, n: int) -> bool:
    says = {name: _SAY[name].search(clause) is not None for name in ("quotes", "scoreWord", "solution", "computes", "gives", "judged", "ownVoice")}
    if says["quotes"] or says["scoreWord"]:
        return not says["quotes"]
    if says["solution"]:
        return n > 1 and re.match(r"(?i)\W{0,8}(?:the )?final answers?\W{0,8}\Z", clause) is not None
    if says["computes"] or says["gives"] or says["judged"]:
        return says["gives"] and not says["computes"]
    if re.search(r"[:：=→|]\Z", clause):
        return len(clause) <= _LABEL
    return n > 1 and len(clause) <= (_LABEL if says["ownVoice"] else _WORDS)


def _in_doubt(
    text: str,
    cut: bool,
    heading: Heading | None,
    section_end: int,
    box: Box,
    voice: str,
    scores: list[float],
    later: list[Box],
    read_box: ReadBox,
) -> bool:
    rest, tail = _rest_of_line(text, box.end), text[box.end :]
    after = tail[len(rest) :]
    goes_on = _says(rest) or _says(after)
    for each in later:
        other = read_box(each.content)
        if other is not None and other != scores and _is_claim(_prefix(text, each.at, box.end)):
            return True
    if heading is not None and heading.end <= box.at < section_end:
        line, blank_between = _line_before(text, heading.at)
        if _introduces(line, goes_on):
            return True
        if heading.set_off and (cut or goes_on or _SAY["quotes"].search(_last_sentence(line))):
            return True
        if not blank_between and _runs_on(line) and _says(after) and not re.match(r"\s*\n\s*\n", after):
            return True
        inline = text[heading.end : min(box.at, heading.end + _LINE)].split("\n", 1)[0]
        if voice == "alone" and _contradicts(inline, scores, True):
            return True
        if _quote_open(text[: heading.at]) and _quote_open(tail):
            return True
    return _quoted_rest(rest) or _tail_in_doubt(after, rest, scores)


def _tail_in_doubt(after: str, rest: str, scores: list[float]) -> bool:
    if (
        re.match(r"[\s*_$`]{0,16}\Z", rest)
        and re.match(r"\n[ \t]{0,16}\p{Ll}{2}", after)
        and not re.match(r"\n[ \t]{0,16}\p{Ll}{1,20}\s*\Z", after)
    ):
        return True
    tail, first = rest + after, True
    for found in re.finditer(r"[^.!?。！？\n]{1,400}", tail):
        words = re.sub(r"\A[^\p{L}]{1,40}", "", found[0])
        if not re.search(r"\p{L}", words):
            continue
        if _SAY["takesBack"].match(words) or (first and _SAY["pointsBack"].match(words) and _SAY["quotes"].search(words)):
            return True
        first = False
    return any(_contradicts(found[1] or found[2] or "", scores, False) for found in _SAY["statement"].finditer(tail))


def _contradicts(text: str, scores: list[float], as_many: bool) -> bool:
    plain = re.sub(r"(?i)(?:/|out of|von|sur|de|из)\s{0,2}10\b", " ", text)
    plain = re.sub(
        r"(?i)\b(?:responses?|assistants?|answers?|candidates?|criteri\p{L}{1,3}|steps?|parts?|points?|no\.?|#)\s{0,2}[0-9]{1,2}\b", " ", plain
    )
    plain = re.sub(r"(?i)\b1\s{0,2}(?:-|–|to)\s{0,2}10\b|[0-9]+(?:\.[0-9]+)?\s?%|[0-9]+(?:st|nd|rd|th)\b", " ", plain)
    numbers = [float(digits) for digits in re.findall(r"[0-9]{1,4}(?:\.[0-9]{1,4})?", plain)]
    if not numbers or (as_many and len(numbers) != len(scores)):
        return False
    return numbers != scores if as_many else any(each not in scores for each in numbers)


def _is_claim(prefix: str) -> bool:
    clause = _undress(_last_sentence(prefix))
    if not clause or _SAY["takesBack"].match(clause) or re.search(r"(?i)\b(?:or|rather|instead|now|to|→|->)\W{0,4}\Z", clause):
        return True
    says = {name: _SAY[name].search(clause) is not None for name in ("quotes", "scoreWord", "gives", "ownVoice", "solution", "judged", "computes")}
    if says["quotes"] or says["scoreWord"] or says["gives"]:
        return not says["quotes"]
    return says["ownVoice"] and not (says["solution"] or says["judged"] or says["computes"])


def _quoted_rest(rest: str) -> bool:
    words = re.sub(r"\A[^\p{L}]{1,16}", "", re.sub(r"(?:^|\s)%.*", "", rest, count=1))
    if re.search(r"\bboxed\s{0,2}\{", words) and re.match(r"(?i)(?:or|to|then|revised|corrected|rather|instead)\b", words):
        return True
    leads = _SAY["pointsBack"].match(words) or re.match(r"(?i)(?:as|by|from|inside|within|says|claims|for itself)\b", words)
    return leads is not None and (_SAY["quotes"].search(words) or _SAY["judged"].search(words)) is not None


def _introduces(line: str, goes_on: bool) -> bool:
    sentence = _last_sentence(re.sub(r"[\s*_`]{1,16}\Z", "", line))
    if not sentence or re.match(r"\s*#", line):
        return False
    quotes = _SAY["quotes"].search(sentence) is not None and not re.search(r"(?i)\b(?:i|my)\b", sentence)
    own = any(_SAY[name].search(sentence) for name in ("scoreWord", "gives", "ownVoice")) or (
        re.search(r"(?i)\b(?:therefore|based on|as follows|here)\b", sentence) is not None
    )
    if re.search(r"[:：]\Z", sentence):
        return quotes or (not own and (_SAY["judged"].search(sentence) is not None or len(sentence) > _LABEL))
    if not re.search(r"[\p{L},，、;—–-]\Z", sentence):
        return False
    found = re.search(r"\p{L}{1,32}\Z", sentence)
    word = found[0] if found else ""
    if _SAY["quotes"].search(word):
        return quotes
    return not own and (quotes or goes_on) and (word == "" or _OPEN_END.match(word) is not None)


def _runs_on(line: str) -> bool:
    words = re.sub(r"[\s*_`]{1,16}\Z", "", line)
    return (
        re.search(r"[\p{L}0-9,，]\Z", words) is not None
        and not re.match(r"\s*(?:[-*•#|+]|[0-9]{1,2}[.)])", words)
        and re.search(r"\S\s+\S+\s+\S|[\u3040-\u30ff\u4e00-\u9fff]{8}", words) is not None
    )


def _line_before(text: str, at: int) -> tuple[str, bool]:
    end = at
    for passed in range(_OPENINGS_MAX + 1):
        end = len(text[:end].rstrip())
        line = _prefix(text, end)
        if passed == _OPENINGS_MAX or not re.match(r"\s*(?:(?:```|~~~)\w{0,12}|\${1,2}|\\{1,2}[\[(])\Z", line):
            break
        end -= len(line)
    return line, re.search(r"\n\s*\n", text[end : min(at, end + _LINE)]) is not None


def _last_sentence(line: str) -> str:
    found = _SENTENCE.search(line)
    return (found[1] if found else line).strip()


def _undress(clause: str) -> str:
    bare = re.sub(r"(?i)</?[a-z_]{1,20}>", "", clause)
    return re.sub(r"\A[\s*_#`$\\\[({|•·>0-9.)-]+|[\s*_`$\\\[({|]+\Z", "", bare)


def _rest_of_line(text: str, start: int) -> str:
    return text[start : start + 2 * _LINE].split("\n", 1)[0]


def _quote_open(text: str) -> bool:
    straight, depth = text.count('"') % 2 == 1, 0
    for mark in re.findall(r"[“”«»「」『』]", text):
        depth = depth + 1 if mark in "“«「『" else max(0, depth - 1)
    return straight or depth > 0


def _says(text: str) -> bool:
    return any(not _CLOSER.match(line[: 2 * _LINE]) for line in text.split("\n"))
