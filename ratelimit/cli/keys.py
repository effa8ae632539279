"""`ratelimit keys`: make, list and revoke the API keys of a gateway."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from ratelimit.cli.failure import one_line_errors
from ratelimit.cli.options import PlansFile
from ratelimit.cli.screen import output
from ratelimit.errors import ConfigError
from ratelimit.plans import PlanRegistry

if TYPE_CHECKING:
    from ratelimit.web.keys.models import KeyEntry
    from ratelimit.web.keys.store import KeyStore

__all__ = ("keys",)

keys = typer.Typer(
    name="keys",
    help="Make, list and revoke API keys. The file holds digests of them, never the keys.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_KeysFile = Annotated[
    Path,
    typer.Option("--keys", metavar="FILE", envvar="RATELIMIT_KEYS", help="The keys file, TOML or JSON by its suffix."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_DEFAULT_FILE = Path("keys.toml")


@keys.command()
def add(
    *,
    plan: Annotated[str, typer.Option("--plan", metavar="NAME", help="The plan of the key's subject.")],
    file: _KeysFile = _DEFAULT_FILE,
    subject: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Who is limited; keys of one subject share quota. Default: the id."),
    ] = None,
    organisation: Annotated[
        str | None, typer.Option(metavar="TEXT", help="An organisation that is charged as well.")
    ] = None,
    organisation_plan: Annotated[
        str | None, typer.Option(metavar="NAME", help="The organisation's plan; needed the first time it is named.")
    ] = None,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="For people: shown by list.")] = None,
    plans_file: PlansFile = None,
    as_json: _Json = False,
) -> None:
    """Make a key and print it, this once. The file is made if it is missing."""
    with one_line_errors():
        plans = None if plans_file is None else PlanRegistry.from_file(plans_file)
        issued = _store(file, plans).add(
            plan, subject=subject, organisation=organisation, organisation_plan=organisation_plan, note=note
        )
    if as_json:
        _print_json({"key": issued.key, **issued.entry.public()})
        return
    # The key alone on stdout, so that a script can take it from there.
    typer.echo(issued.key)
    typer.echo(f"{_summary(issued.entry)}: added to {file}. The key is not shown again.", err=True)


@keys.command("list")
def list_(*, file: _KeysFile = _DEFAULT_FILE, as_json: _Json = False) -> None:
    """Show the keys of a file: ids, who they belong to and under which plan."""
    with one_line_errors():
        entries = _store(file).entries()
    if as_json:
        _print_json([entry.public() for entry in entries])
    elif entries:
        output().print(_table(entries))
    else:
        typer.echo(f"{file} holds no keys.")


@keys.command()
def revoke(
    *,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as list shows it.")],
    file: _KeysFile = _DEFAULT_FILE,
    as_json: _Json = False,
) -> None:
    """Take a key out of the file. Gateways refuse it from their next look at the file on, a second later."""
    with one_line_errors():
        entry = _store(file).revoke(key_id)
    if as_json:
        _print_json(entry.public())
    else:
        typer.echo(f"{_summary(entry)}: revoked in {file}.")


def _store(file: Path, plans: PlanRegistry | None = None) -> KeyStore:
    """The store, imported only now: the other commands work without what it needs."""
    try:
        from ratelimit.web.keys.store import KeyStore
    except ModuleNotFoundError as error:
        raise ConfigError(f"keys need {error.name}: pip install 'llm-ratelimit[cli,web]'") from None
    return KeyStore(file, plans=plans)


def _summary(entry: KeyEntry) -> str:
    text = f"{entry.id}, subject {entry.subject}, plan {entry.plan}"
    return text if entry.organisation is None else f"{text}, organisation {_organisation(entry)}"


def _organisation(entry: KeyEntry) -> str:
    return "" if entry.organisation is None else f"{entry.organisation} ({entry.organisation_plan})"


def _table(entries: Sequence[KeyEntry]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Id", style="bold", overflow="fold")
    for heading in ("Subject", "Plan", "Organisation", "Created (UTC)", "Note"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        created = "" if entry.created is None else f"{entry.created:%Y-%m-%d %H:%M}"
        table.add_row(entry.id, entry.subject, entry.plan, _organisation(entry), created, entry.note or "")
    return table


def _print_json(body: Any) -> None:
    typer.echo(json.dumps(body, indent=2, default=datetime.isoformat))
