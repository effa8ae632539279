"""How a command fails: with one line that says what to change, not with a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ratelimit.errors import RateLimitError

__all__ = ("EXIT_CODE", "one_line_errors")

EXIT_CODE = 2


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an error of this package into one line on stderr and exit code 2. Any other one is a bug, and is shown."""
    try:
        yield
    except RateLimitError as error:
        typer.echo(f"ratelimit: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(EXIT_CODE) from None
