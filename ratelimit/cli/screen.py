"""Where commands print: tables on stdout, progress on stderr."""

from __future__ import annotations

from rich.console import Console

__all__ = ("WIDTH", "errors", "output")

WIDTH = 100
"""Columns that every table fits in; used as they are where there is no terminal to ask."""


def output() -> Console:
    """The console for results. Emoji and markup are off: names of plans and files are shown as they are."""
    return _console(stderr=False)


def errors() -> Console:
    """The console for progress."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    # Without a terminal rich assumes 80 columns, and would break lines in the file or the pipe that it prints to.
    return (
        console
        if console.is_terminal
        else Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=WIDTH)
    )
