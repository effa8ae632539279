"""docs/http.md shows what is sent: its blocks are the golden files of the dialects."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT, blocks
from tests.web.goldens import FOLDER, REWRITE

PAGE = ROOT / "docs" / "http.md"
_SHOWN = re.compile(r"^<!-- (?P<name>[\w-]+) -->\n```http\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_block_is_its_golden_file() -> None:
    """Named in the comment above it; tests/web/goldens.py says how to rewrite both."""
    if REWRITE:
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(_SHOWN.sub(lambda match: _block(match["name"]), text), encoding="utf-8")
    shown = list(_SHOWN.finditer(PAGE.read_text(encoding="utf-8")))
    for match in shown:
        assert match[0] == _block(match["name"])
    assert len(shown) == sum(block.language == "http" for block in blocks(PAGE))


def test_every_golden_file_is_shown_once() -> None:
    """The page leaves nothing out."""
    names = [match["name"] for match in _SHOWN.finditer(PAGE.read_text(encoding="utf-8"))]
    assert sorted(names) == sorted(file.stem for file in FOLDER.glob("*.txt"))


def _block(name: str) -> str:
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    return f"<!-- {name} -->\n```http\n{text}```"
