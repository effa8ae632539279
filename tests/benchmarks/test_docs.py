"""The tables of the page are replaced, and nothing around them."""

from __future__ import annotations

import pytest

from benchmarks.docs import with_tables
from benchmarks.results import Row, at_least, at_most
from tests.docs.pages import ROOT

ROWS = [
    Row(section="Memory", name="acquire", value=1.234, ratio=5, against="speed of another", figure=at_least(4)),
    Row(section="Memory", name="bytes", value=250, unit="B", figure=at_most(200)),
    Row(section="Goodput", name="told elsewhere", value=1),
]
PAGE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")


def test_tables_are_replaced_and_prose_stays() -> None:
    written = with_tables(PAGE, ROWS, {"server": "redis-1.2.3"})
    start, end = PAGE.index("<!-- tables"), PAGE.index("<!-- tables: end")
    assert written.startswith(PAGE[:start])
    assert written.endswith(PAGE[end:])
    assert "- server: redis-1.2.3" in written
    assert "| acquire | 1.23 µs | 5.00 | speed of another | at least 4: reached |" in written
    assert "| bytes | 250 B |  |  | at most 200: **missed** |" in written
    assert "told elsewhere" not in written


def test_writing_twice_is_writing_once() -> None:
    once = with_tables(PAGE, ROWS, {})
    assert with_tables(once, ROWS, {}) == once


def test_a_page_without_marks_is_an_error() -> None:
    with pytest.raises(ValueError, match="put them back"):
        with_tables("# Performance", ROWS, {})
