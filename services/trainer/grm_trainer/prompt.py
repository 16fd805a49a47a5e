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

    def judge(self, query: str | list[dict], responses: list[str], permutation: list[int], reference: str | None = None, nonce: str = "") -> list[dict]:
        """The chat that asks for one sample; `permutation[place]` is the response shown in that place.
        `nonce` marks the texts of this item: 4 letters or digits at least, where the template holds {{nonce}}."""
        n = len(permutation)
        section = {1: "single", 2: "paired"}.get(n, "list")
        return _chat(self.grm, section if section in self.grm else "list", query, responses, permutation, reference, nonce, {})

    def check(
        self, query: str | list[dict], responses: list[str], permutation: list[int], judgement: str, reference: str | None = None, nonce: str = ""
    ) -> list[dict]:
        """The chat that asks the meta RM about one sample."""
        shown = fill(self.meta["judgement"], {"text": judgement, "nonce": nonce})
        return _chat(self.meta, "user", query, responses, permutation, reference, nonce, {"judgement": shown})


def _chat(template, section, query, responses, permutation, reference, nonce, more) -> list[dict]:
    n = len(permutation)
    turns = [{"role": "user", "content": query}] if isinstance(query, str) else query
    shown = [
        fill(template["response"], {"number": str(place + 1), "text": responses[i], "nonce": nonce})
        for place, i in enumerate(permutation)
    ]
    names = ["x"] if n == 1 else [f"x{place + 1}" for place in range(n)]
    values = {
        "n": str(n),
        "nonce": nonce,
        "box": f"\\boxed{{{', '.join(names)}}}",
        "query": "\n".join(fill(template["turn"], {"role": turn["role"], "text": turn["content"], "nonce": nonce}) for turn in turns),
        "reference": "" if reference is None else fill(template["reference"], {"text": reference, "nonce": nonce}),
        "principles": "",
        "responses": "\n".join(shown),
        **more,
    }
    user = {"role": "user", "content": fill(template[section], values)}
    return [{"role": "system", "content": fill(template["system"], values)}, user] if "system" in template else [user]
