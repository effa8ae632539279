"""Reads the header of a script: the grammar is in lua/README.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ("LUA", "Header", "composed_body", "read_header")

LUA = Path(__file__).parents[2] / "lua"
_FIELDS = ("KEYS", "ARGV", "REPLY", "ERRORS", "COST")
_HEADER = re.compile(r"\A--\[\[\n(?P<text>.*?)\n\]\]\n", re.DOTALL)
_LABEL = re.compile(r"^  (?P<name>[A-Z]+)\s+(?P<rest>.*)$")


@dataclass(frozen=True)
class Header:
    """The parts of a header, each field on one line."""

    summary: str
    fields: dict[str, str]
    errors: frozenset[str]

    def widths(self, text: str) -> int:
        """Bytes of the numbers and texts that a field lists: `B` is one, `I7` seven, `c4` four."""
        return sum(int(width or 1) for width in re.findall(r"\b(?:B|[Ic](\d+))\b", text))


def read_header(name: str) -> Header:
    """The header of `lua/<name>.lua`; an error names what is missing or out of order."""
    match = _HEADER.match((LUA / f"{name}.lua").read_text())
    assert match, f"{name}.lua does not begin with a header"
    fields: dict[str, str] = {}
    current = None
    summary, *lines = match["text"].splitlines()
    for line in lines:
        label = _LABEL.match(line)
        if label:
            current = label["name"]
            fields[current] = label["rest"]
        elif not line.strip():
            if "COST" in fields:
                break
            current = None
        elif current:
            fields[current] += " " + line.strip()
    assert tuple(fields) == _FIELDS, f"{name}.lua has the fields {tuple(fields)}"
    return Header(summary.strip(), fields, frozenset(re.findall(r"RL_[A-Z]+", fields["ERRORS"])))


def composed_body(text: str) -> str:
    """A composed script without its comments."""
    return re.sub(r"--[^\n]*", "", re.sub(r"--\[\[.*?\]\]", "", text, flags=re.DOTALL))
