"""What the ASGI middleware adds to one request, in CPU time of its process; no sockets, so nothing else is measured."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
import orjson
import uvloop

from benchmarks.apps import PATH, App, Keys, limited, make_keys, slowapi_decorated, slowapi_middleware, starlette
from benchmarks.interleave import Case, Timing, interleave
from benchmarks.protocol import PlainApp, Request, call
from benchmarks.results import Figure, Row, at_most
from benchmarks.wire import chat_request, chat_response
from tests.servers import RedisServer

__all__ = ("middleware_rows",)

_SECTION: Final = "Middleware, CPU time added per request"
_KEYS: Final = 20

_ORJSON, _MSGSPEC = "orjson.loads", "msgspec.json.decode"
_BARE, _OURS, _REDIS = "bare", "middleware", "middleware, Redis"
_STARLETTE, _DECORATED, _SLOW = "Starlette", "slowapi, decorator", "slowapi, middleware"


@dataclass(frozen=True, slots=True)
class _Size:
    """A size of request bodies, and how many of them make a pass."""

    name: str
    bytes: int
    calls: int
    absolute: bool = False
    """Judged by the time itself: so small a body takes no time to decode."""
    loose: bool = False
    """Spaced and escaped, as `json.dumps` writes it unless told otherwise."""


_SIZES: Final = (
    _Size("1 KB", 1_000, 200, absolute=True),
    _Size("100 KB", 100_000, 40),
    _Size("1 MB", 1_000_000, 6),
    _Size("1 MB, spaced and escaped", 1_000_000, 6, loose=True),
)
_US_MOST: Final = 80
_DECODES_MOST: Final = 4


def middleware_rows(server: RedisServer, rounds: int) -> list[Row]:
    """The same application with and without us, with and without slowapi, and what decoding the body takes."""
    rows: list[Row] = []
    with TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        keys = make_keys(Path(folder), _KEYS)
        apps = runner.run(_apps(keys, server.url))
        for size in _SIZES:
            rows += _rows(size, interleave(_cases(runner, apps, keys, size), rounds))
    return rows


async def _apps(keys: Keys, redis_url: str) -> dict[str, App]:
    answer = chat_response()
    return {
        _BARE: PlainApp(answer),
        _OURS: await limited(PlainApp(answer), keys, "memory://"),
        _REDIS: await limited(PlainApp(answer), keys, redis_url),
        _STARLETTE: starlette(answer),
        _DECORATED: slowapi_decorated(answer),
        _SLOW: slowapi_middleware(answer),
    }


def _cases(runner: asyncio.Runner, apps: dict[str, App], keys: Keys, size: _Size) -> list[Case]:
    body = chat_request(size.bytes)
    if size.loose:
        body = json.dumps(orjson.loads(body)).encode()
    requests = [Request(PATH, key, body) for key in keys.keys]
    cases = [Case(name, size.calls, _pass(runner, app, requests, size.calls)) for name, app in apps.items()]
    return [
        *cases,
        Case(_ORJSON, size.calls, lambda: [orjson.loads(body) for _ in range(size.calls)]),
        Case(_MSGSPEC, size.calls, lambda: [msgspec.json.decode(body) for _ in range(size.calls)]),
    ]


def _pass(runner: asyncio.Runner, app: App, requests: Sequence[Request], calls: int) -> Callable[[], None]:
    """Requests of every key in turn; the event loop is entered once."""
    turn = cycle(requests)

    async def one_pass() -> None:
        for _ in range(calls):
            await call(app, next(turn))

    return lambda: runner.run(one_pass())


def _rows(size: _Size, timings: dict[str, Timing]) -> list[Row]:
    decode = timings[_ORJSON].cpu

    def row(name: str, cpu: Sequence[float], figure: Figure | None = None, *, to_decode: bool = True) -> Row:
        many = median(value / one for value, one in zip(cpu, decode, strict=True))
        return Row(
            section=_SECTION,
            name=f"{size.name}: {name}",
            value=median(cpu),
            ratio=many if to_decode else None,
            against="times orjson.loads of the body" if to_decode else "",
            figure=figure,
        )

    def added(name: str, bare: str) -> list[float]:
        return [with_it - without for with_it, without in zip(timings[name].cpu, timings[bare].cpu, strict=True)]

    figure = at_most(_US_MOST) if size.absolute else at_most(_DECODES_MOST)
    return [
        row(_OURS, added(_OURS, _BARE), figure, to_decode=not size.absolute),
        row(_REDIS, added(_REDIS, _BARE)),
        row(_DECORATED, added(_DECORATED, _STARLETTE)),
        row(_SLOW, added(_SLOW, _STARLETTE)),
        row(_MSGSPEC, timings[_MSGSPEC].cpu),
        row(_ORJSON, decode, to_decode=False),
        row("the application alone", timings[_BARE].cpu, to_decode=False),
    ]
