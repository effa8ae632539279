"""What `ratelimit replay` prints: what was replayed, a column per plan, and which plan the traffic needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final
from urllib.parse import urlsplit

from rich import box
from rich.console import Console
from rich.table import Table

from ratelimit.cli.screen import WIDTH
from ratelimit.plans import Plan
from ratelimit.replay import Estimate, LimitReport, PlanReport, Request, Settings, advise
from ratelimit.replay.estimate import LEARNED_FROM, LEARNED_SAMPLES_MIN

__all__ = ("Summary",)

_LABEL_WIDTH: Final = 40
_PLAN_WIDTH: Final = 14
"""A column of numbers up to 999,999,999, and the space beside it."""
_NONE: Final = "-"
Cell = Callable[[PlanReport], str]
Row = tuple[str, Cell | None]
"""A label and what it says of a plan; None: a heading."""


@dataclass(frozen=True)
class Summary:
    """The results of one run over several plans. `trace` is the file's name; of `backend` only the scheme is shown."""

    trace: str
    backend: str
    settings: Settings
    requests: Sequence[Request]
    plans: Sequence[Plan]
    reports: Sequence[PlanReport]

    def to_dict(self) -> dict[str, object]:
        """Everything as JSON values; shares are fractions, times are in the unit that their name ends in."""
        return {
            "trace": {
                "file": self.trace,
                "requests": len(self.requests),
                "input_tokens": sum(request.input_tokens for request in self.requests),
                "output_tokens": sum(request.output_tokens for request in self.requests),
            },
            "settings": {**asdict(self.settings), "backend": self._engine},
            "plans": [report.to_dict() for report in self.reports],
            "advice": asdict(advise(self.plans, self.reports)),
        }

    def print(self, console: Console) -> None:
        """The same for people: as many plans side by side as fit the console, four within 100 columns."""
        console.print(_facts_grid(self._facts()))
        abreast = max(1, (min(console.width, WIDTH) - _LABEL_WIDTH - 4) // _PLAN_WIDTH)
        for start in range(0, len(self.reports), abreast):
            console.print(_table(self.reports[start : start + abreast]))
        console.print(_facts_grid([("Advice", advise(self.plans, self.reports).text)]))

    @property
    def _engine(self) -> str:
        """The kind of backend. No more of its URL, which may hold a password."""
        return urlsplit(self.backend).scheme

    def _facts(self) -> Iterator[tuple[str, str]]:
        settings = self.settings
        tokens_in = sum(request.input_tokens for request in self.requests)
        tokens_out = sum(request.output_tokens for request in self.requests)
        minutes = self.requests[-1].at_us / 60e6
        yield (
            "Trace",
            (
                f"{self.trace}: {len(self.requests):,} requests in {minutes:.1f} minutes, "
                f"{tokens_in:,} input and {tokens_out:,} output tokens"
            ),
        )
        yield "Keys", _keys_text(settings)
        yield "Estimate", _estimate_text(settings)
        yield (
            "Time",
            (
                f"virtual, arrivals at {settings.speed:g} x the recorded rate "
                f"({minutes / settings.speed:.1f} minutes); a "
                f"request takes {settings.first_token_s:g} s and 1 s per {settings.tokens_per_second:g} output tokens; "
                "refused ones do not come back"
            ),
        )
        yield "Engine", "in memory" if self._engine == "memory" else f"on {self._engine}://, under keys of its own"


def _facts_grid(facts: Iterable[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    for heading, text in facts:
        grid.add_row(heading, text)
    return grid


def _keys_text(settings: Settings) -> str:
    if settings.keys == 1:
        return "1: every request comes from the same API key"
    return (
        f"{settings.keys:,}, assigned by this tool, as the trace names none: key k gets a share of 1/k (Zipf), "
        f"seed {settings.seed}"
    )


def _estimate_text(settings: Settings) -> str:
    match settings.estimate:
        case Estimate.EXACT:
            return "exact: reserve what the request will really use, as if it were known"
        case Estimate.MAX:
            return f"max: reserve the input and {settings.max_tokens:,} output tokens, settle at the end"
        case Estimate.LEARNED:
            return (
                f"learned: reserve the input and the 95th percentile of the last {LEARNED_FROM:,} outputs, settle at "
                f"the end ({settings.max_tokens:,} until {LEARNED_SAMPLES_MIN} have finished)"
            )


def _table(reports: Sequence[PlanReport]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Each key has the plan", width=_LABEL_WIDTH)
    for report in reports:
        table.add_column(report.plan, justify="right", overflow="fold")
    for label, cell in _rows(reports):
        if cell is None:
            table.add_row(label, *[""] * len(reports), style="bold")
        else:
            table.add_row(f"  {label}", *[cell(report) for report in reports])
    return table


def _rows(reports: Sequence[PlanReport]) -> Iterator[Row]:
    meters = {limit.name: limit.meter for report in reports for limit in report.limits}
    names = list(meters)
    # A request costs one request, estimated and real: that meter never owes.
    owing = [name for name, meter in meters.items() if meter != "requests"]
    yield "Limits", None
    for name in names:
        yield name, _of_limit(name, lambda limit: f"{limit.amount:,}")
    yield "Requests", None
    yield "offered", lambda report: f"{report.offered_requests:,}"
    yield "admitted", lambda report: f"{report.admitted_requests:,}"
    yield "admitted, share of offered", lambda report: _percent(report.admitted_share)
    for name in names:
        yield f"refused: {name}", _of_limit(name, lambda limit: f"{limit.refused:,}")
    yield "refused: larger than the plan's burst", lambda report: f"{report.too_large_requests:,}"
    yield "Tokens, input and output", None
    yield "offered", lambda report: f"{report.offered_tokens:,}"
    yield "admitted (real use)", lambda report: f"{report.admitted_tokens:,}"
    yield "real use / (TPM x minutes x keys)", lambda report: _percent(report.tpm_share)
    yield "reserved per token used", lambda report: _times(report.over_reservation)
    yield "used beyond the estimate (overruns)", lambda report: f"{report.overrun_tokens:,}"
    for name in owing:
        yield f"largest debt: {name}", _of_limit(name, lambda limit: f"{limit.largest_debt:,}")
    yield "Largest burst of a key in one period", None
    for name in names:
        yield name, _of_limit(name, lambda limit: f"{limit.largest_burst:,}")
        yield "  of at most (burst + amount)", _of_limit(name, lambda limit: f"{limit.bound:,}")


def _of_limit(name: str, show: Callable[[LimitReport], str]) -> Cell:
    def cell(report: PlanReport) -> str:
        return next((show(limit) for limit in report.limits if limit.name == name), _NONE)

    return cell


def _percent(share: float | None) -> str:
    # Rounded down, so that 99.99 % never reads as all of them; the last digits of a float are noise.
    return _NONE if share is None else f"{int(round(share * 1_000, 6)) / 10:.1f} %"


def _times(ratio: float | None) -> str:
    return _NONE if ratio is None else f"{ratio:.2f}"
