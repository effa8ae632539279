"""The tables of docs/performance.md, and the JSON and the picture beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from benchmarks.plot import plot
from benchmarks.results import Row, digits, write_json

__all__ = ("with_tables", "write_docs")

_PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
_BEGIN, _END = "<!-- tables: begin; written by `python -m benchmarks --docs` -->", "<!-- tables: end -->"
_ELSEWHERE: Final = ("Middleware", "Streams", "Goodput")
"""Sections that the page tells of in its own words, further down."""


def write_docs(rows: Sequence[Row], machine: Mapping[str, str], page: Path = _PAGE) -> None:
    """Put the tables between the page's marks, which stay as everything around them does.

    Raises:
        ValueError: the page has no marks.
    """
    page.write_text(with_tables(page.read_text(encoding="utf-8"), rows, machine), encoding="utf-8")
    write_json(page.with_suffix(".json"), rows, machine)
    plot(page.with_suffix(".svg"), rows, machine)


def with_tables(text: str, rows: Sequence[Row], machine: Mapping[str, str]) -> str:
    """The page with these tables.

    Raises:
        ValueError: it has no marks.
    """
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"the page must have {_BEGIN!r} and {_END!r} around its tables: put them back")
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    return f"{before}{_BEGIN}\n\n### Measured on\n\n{facts}\n{_tables(rows)}\n{_END}{after}"


def _tables(rows: Sequence[Row]) -> str:
    shown = [row for row in rows if not row.section.startswith(_ELSEWHERE)]
    return "".join(_table(section, list(of)) for section, of in groupby(shown, key=lambda row: row.section))


def _table(section: str, rows: Sequence[Row]) -> str:
    lines = [f"\n### {section}\n", "| | median | ratio | of what | to reach |", "|---|--:|--:|---|---|"]
    return "\n".join([*lines, *map(_line, rows)]) + "\n"


def _line(row: Row) -> str:
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return f"| {row.name} | {digits(row.value)} {row.unit} | {ratio} | {row.against} | {_figure(row)} |"


def _figure(row: Row) -> str:
    if row.figure is None:
        return ""
    bound = f"at least {row.figure.least:g}" if row.figure.least is not None else f"at most {row.figure.most:g}"
    return f"{bound}: {'reached' if row.reached else '**missed**'}"
