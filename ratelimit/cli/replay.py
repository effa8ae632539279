"""`ratelimit replay`: which plan does this traffic need?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ratelimit.cli import screen
from ratelimit.cli.failure import one_line_errors
from ratelimit.cli.options import PlansFile, chosen_plans
from ratelimit.cli.summary import Summary
from ratelimit.plans import Plan
from ratelimit.replay import Estimate, PlanReport, Request, Settings, read_trace
from ratelimit.replay import replay as replay_plan

__all__ = ("replay",)

_DEFAULT = Settings()


def replay(
    *,
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="Requests as CSV or JSON lines; may be gzipped.")],
    plan: Annotated[
        list[str] | None,
        typer.Option("--plan", metavar="NAME", help="Replay against this plan; may be repeated. Default: all of them."),
    ] = None,
    plans_file: PlansFile = None,
    backend: Annotated[
        str, typer.Option("--backend", metavar="URL", help="Where the engine keeps its state: memory://, redis://…")
    ] = "memory://",
    keys: Annotated[int, typer.Option(metavar="N", help="API keys to spread the requests over.")] = _DEFAULT.keys,
    speed: Annotated[
        float, typer.Option(metavar="X", help="Factor on the arrival rate: 4 offers 4 times the load.")
    ] = _DEFAULT.speed,
    estimate: Annotated[
        Estimate, typer.Option(help="What to reserve: the real usage, max-tokens of output, or what was learned.")
    ] = _DEFAULT.estimate,
    max_tokens: Annotated[
        int, typer.Option(metavar="N", help="Output tokens that a request may ask for.")
    ] = _DEFAULT.max_tokens,
    tokens_per_second: Annotated[
        float, typer.Option(metavar="N", help="Output tokens of one request per second: how long requests take.")
    ] = _DEFAULT.tokens_per_second,
    seed: Annotated[int, typer.Option(metavar="N", help="Decides which key sends which request.")] = _DEFAULT.seed,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress bar.")] = False,
) -> None:
    """Replay recorded traffic against plans, in virtual time, and say which plan it needs."""
    with one_line_errors():
        settings = Settings(
            keys=keys,
            speed=speed,
            estimate=estimate,
            max_tokens=max_tokens,
            tokens_per_second=tokens_per_second,
            seed=seed,
        )
        chosen = chosen_plans(plans_file, plan or ())
        requests = read_trace(trace)
        reports = _replay_all(requests, chosen, settings, backend, quiet=quiet)
    summary = Summary(trace.name, backend, settings, requests, chosen, reports)
    if as_json:
        typer.echo(json.dumps(summary.to_dict(), indent=2))
    else:
        summary.print(screen.output())


def _replay_all(
    requests: Sequence[Request], chosen: Sequence[Plan], settings: Settings, backend: str, *, quiet: bool
) -> list[PlanReport]:
    reports = []
    with _progress(quiet=quiet) as bar:
        for plan in chosen:
            task = bar.add_task(plan.name, total=len(requests))

            def advance(count: int, task: TaskID = task) -> None:
                bar.advance(task, count)

            reports.append(replay_plan(requests, plan, settings, backend=backend, progress=advance))
    return reports


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Progress]:
    """A bar on stderr, where someone may be looking at it; it is gone when the result is printed."""
    console = screen.errors()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        yield bar
