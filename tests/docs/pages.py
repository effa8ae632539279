"""Reads the pages of the documentation: their fenced blocks, their links, and the files that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

__all__ = ("PAGES", "ROOT", "Block", "anchors", "blocks", "links", "named_files", "prose", "section")

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(?P<title>.+?)\s*$", re.MULTILINE)
_FILE = re.compile(r"`(?P<path>(?:benchmarks|docs|lua|ratelimit|tests)/[\w./-]+)(?:::[\w\[\]-]+)?`")
_SAID = re.compile(r"^\s*print\(.*\)  # (?P<text>.+)$")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. `line` is that of its first line in the file; `output` the `text` block right behind it."""

    language: str
    text: str
    line: int
    output: str | None

    @property
    def promised(self) -> str | None:
        """What the block says that it prints: the output behind it, or the remarks behind its prints."""
        if self.output is not None:
            return self.output
        said = [match["text"] for line in self.text.splitlines() if (match := _SAID.match(line))]
        return "\n".join(said) + "\n" if said else None


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = list(_FENCE.finditer(text))
    for match, after in zip_longest(found, found[1:]):
        follows = after is not None and after["language"] == "text" and not text[match.end() : after.start()].strip()
        yield Block(
            language=match["language"],
            text=match["text"],
            line=text.count("\n", 0, match.start("text")) + 1,
            output=after["text"] if after is not None and follows else None,
        )


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def section(page: Path, title: str) -> str:
    """What stands between a heading and the next one of its level or above."""
    text = page.read_text(encoding="utf-8")
    match = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,2}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match is not None, f"{page.name} has no heading {title!r}"
    return match[2]


def links(page: Path) -> Iterator[str]:
    """Targets of the links of a page."""
    return (match["target"] for match in _LINK.finditer(prose(page)))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    titles = (match["title"] for match in _HEADING.finditer(prose(page)))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def named_files(page: Path) -> Iterator[str]:
    """Files of this repository that a page names in code, such as `tests/docs/pages.py`."""
    return (match["path"] for match in _FILE.finditer(prose(page)))
