"""The command line: `ratelimit serve`, `keys`, `plans` and `replay`.

What is wrong with an option, a file or a backend is one line on stderr and exit code 2.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from ratelimit.cli.keys import keys
from ratelimit.cli.plans import plans
from ratelimit.cli.replay import replay
from ratelimit.cli.serve import serve

__all__ = ("app", "run")

_DISTRIBUTION = "llm-ratelimit"

app = typer.Typer(
    name="ratelimit",
    help="The quota engine for LLM gateways: run one, make its keys, look at plans, replay recorded traffic.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(serve)
app.add_typer(keys)
app.command()(plans)
app.command()(replay)


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        typer.echo(f"ratelimit {version(_DISTRIBUTION)}")
    except PackageNotFoundError:
        typer.echo("ratelimit (not installed: run from a checkout)")
    raise typer.Exit


@app.callback()
def _main(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """The quota engine for LLM gateways: run one, make its keys, look at plans, replay recorded traffic."""


def run() -> None:
    """Run the command line on the arguments of this process; ends in SystemExit."""
    app()
