"""Prompts: the same template files as the cluster's (format: src/grm/prompt.ts), filled in the same way.

Only what training needs: texts made by the generator imitate no markers, so nothing is made inert here. For texts of others,
train on what `grm spct rft` wrote: it holds the prompts as they were asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_SLOT = re.compile(r"\{\{([a-z]+)\}\}")
_HEADER = re.compile(r"^=== ([a-z]+) ===[ \t]*$")


def read_template(path: Path) -> dict[str, str]:
    """Sections by name, without the blank lines around them."""
    sections: dict[str, list[str]] = {}
    name = None
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := _HEADER.match(line):
            name = found[1]
            sections[name] = []
        elif name is not None:
            sections[name].append(line)
    return {name: "\n".join(lines).strip("\n") for name, lines in sections.items()}


def fill(section: str, values: dict[str, str]) -> str:
    """A placeholder alone on its line, another line after it, takes its line with it when it is filled with nothing."""
    out, at = [], 0
    for found in _SLOT.finditer(section):
        start, end = found.span()
        whole = (start == 0 or section[start - 1] == "\n") and section[end : end + 1] == "\n"
        value = values[found[1]]
        out.append(section[at:start])
        out.append(f"{value}\n" if whole and value else value)
        at = end + 1 if whole else end
    out.append(section[at:])
    return "".join(out)


@dataclass(frozen=True)
class Prompts:
    grm: dict[str, str]
    meta: dict[str, str]

    @classmethod
    def read(cls, grm: Path, meta: Path) -> "Prompts":
        return cls(read_template(grm), read_template(meta))

    def judge(self, query: str, responses: list[str], permutation: list[int], reference: str | None = None) -> str:
        """The user message that asks for one sample; `permutation[place]` is the response shown in that place."""
        return self._user(self.grm, "list", query, responses, permutation, reference, {})

    def check(self, query: str, responses: list[str], permutation: list[int], judgement: str, reference: str | None = None) -> str:
        """The user message that asks the meta RM about one sample."""
        shown = fill(self.meta["judgement"], {"text": judgement})
        return self._user(self.meta, "user", query, responses, permutation, reference, {"judgement": shown})

    def _user(self, template, section, query, responses, permutation, reference, more) -> str:
        shown = [fill(template["response"], {"number": str(place + 1), "text": responses[i]}) for place, i in enumerate(permutation)]
        return fill(template[section], {
            "query": fill(template["turn"], {"role": "user", "text": query}),
            "reference": "" if reference is None else fill(template["reference"], {"text": reference}),
            "principles": "",
            "responses": "\n".join(shown),
            **more,
        })
