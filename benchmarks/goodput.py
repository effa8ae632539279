"""How much of a plan real traffic gets to use through the middleware, by the way in which its output is estimated.

Theory of operation. Recorded requests are sent, as chat bodies of one client, through the middleware to an upstream
that streams as many tokens as the recorded one did, with their usage at the end. All of it runs in virtual time: the
event loop, the upstream and the memory backend share one clock, which leaps to the next event. The plan allows a
quarter of the tokens that are offered, and as many requests as one likes. Refused requests do not come back.

What the traces do not say, and is made up: text, whose bytes per token scatter around 4.2 from request to request
(log-normal, sigma 0.15: prose of different languages, code and tables differ by about that much), and that an
upstream takes 0.3 s to its first token and 20 ms for each of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final, Literal

import orjson

from benchmarks.protocol import Receive, Scope, Send
from benchmarks.results import Row, at_least, at_most
from benchmarks.wire import prose
from ratelimit import AsyncLimiter, Limit, Plan
from ratelimit.acquisition import Acquisition
from ratelimit.backends.memory import AsyncMemoryBackend, MemoryBackend
from ratelimit.replay import Request, read_trace
from ratelimit.testing import ManualClock
from ratelimit.web.asgi import RateLimitMiddleware
from ratelimit.web.call import ModelCall
from ratelimit.web.estimate import OutputPolicy
from ratelimit.web.head import RequestHead
from ratelimit.web.identity import Identity
from ratelimit.web.usage import Usage
from tests.web.virtual_time import exchange, run_virtually

__all__ = ("TRACES", "Tally", "Way", "goodput_rows", "replay_through")

TRACES: Final = (
    Path(__file__).parent / "traces" / "azure_conv_2023.csv",
    Path(__file__).parent / "traces" / "mooncake_conversation.jsonl",
)
OVERLOAD: Final = 4
"""Offered tokens per token that the plan allows."""
FIRST_TOKEN_S: Final = 0.3
TOKENS_PER_S: Final = 50
BYTES_PER_TOKEN: Final = 4.2
SCATTER: Final = 0.15
CAP: Final = 4_096
"""Output that clients ask for at most, as many do who do not know better."""

_PATH: Final = "/v1/chat/completions"
_MODEL: Final = "glm-5"
_AROUND: Final = 7
"""Tokens of a chat with one message that are none of its text: the estimate counts as many."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to estimate: the middleware's options, and what clients say about their output."""

    name: str
    output: OutputPolicy
    cap: Literal["usual", "largest", "known"]
    knows_input: bool = False


KNOWN: Final = Way("known sizes", "max_tokens", "known", knows_input=True)
LEARNED: Final = Way("learned", "learned", "usual")
WAYS: Final = (
    KNOWN,
    LEARNED,
    Way("max_tokens = 4,096", "max_tokens", "usual"),
    Way("max_tokens = largest output", "max_tokens", "largest"),
    Way("input_only", "input_only", "usual"),
)


@dataclass(slots=True)
class Tally:
    """What was let through, in real tokens, and what was reserved for it."""

    offered: int = 0
    admitted: int = 0
    requests: int = 0
    reserved: int = 0
    overrun: int = 0
    """Tokens used beyond what was reserved, over the requests that did."""

    def admit(self, real: int, reserved: int) -> None:
        """A request has passed."""
        self.requests += 1
        self.admitted += real
        self.reserved += reserved
        self.overrun += max(0, real - reserved)

    @property
    def overrun_share(self) -> float:
        """Overruns as a share of the tokens let through."""
        return self.overrun / self.admitted

    @property
    def over_reservation(self) -> float:
        """Tokens reserved per token used."""
        return self.reserved / self.admitted


class _WatchedLimiter(AsyncLimiter):
    """Remembers what was asked last. In memory nothing can come between asking and the app."""

    asked = 0

    def acquire(self, subject: Any, **options: Any) -> Acquisition:
        """As `AsyncLimiter.acquire`."""
        self.asked = subject[0].amounts["tokens"]
        return super().acquire(subject, **options)


class _Upstream:
    """Streams what the recorded upstream did; the scope's `recorded` says which request this is."""

    def __init__(self, limiter: _WatchedLimiter, tally: Tally) -> None:
        self._limiter = limiter
        self._tally = tally

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        request: Request = scope["recorded"]
        self._tally.admit(request.tokens, self._limiter.asked)
        await asyncio.sleep(FIRST_TOKEN_S)
        await send({"type": "http.response.start", "status": 200, "headers": _EVENT_STREAM})
        for tokens in _in_parts(request.output_tokens):
            await asyncio.sleep(tokens / TOKENS_PER_S)
            delta = {"content": prose(round(tokens * BYTES_PER_TOKEN))}
            await send(_event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}], "usage": None}))
        usage = {
            "prompt_tokens": request.input_tokens,
            "completion_tokens": request.output_tokens,
            "total_tokens": request.tokens,
        }
        await send(_event({"choices": [], "usage": usage}))
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


_EVENT_STREAM: Final = [(b"content-type", b"text/event-stream")]
_PART: Final = 200
"""Tokens in a chunk: fewer would only take longer to replay."""


def _in_parts(tokens: int) -> Iterable[int]:
    return [min(_PART, tokens - done) for done in range(0, tokens, _PART)]


def _event(value: dict[str, object]) -> dict[str, object]:
    return {
        "type": "http.response.body",
        "body": b"data: " + orjson.dumps({"model": _MODEL, **value}) + b"\n\n",
        "more_body": True,
    }


class _MarkedTokens:
    """Knows how many tokens an input has: its text begins with their number."""

    def input_tokens(self, call: ModelCall) -> int:
        """Tokens of the input."""
        return int(next(call.texts())[:_MARK])

    def output_tokens(self, model: str, text_bytes: int) -> int:
        """Never needed: every stream tells its usage."""
        raise AssertionError(f"{text_bytes} bytes of a stream of {model} without usage")

    def learn(self, call: ModelCall, usage: Usage) -> None:
        """Nothing to learn."""


_MARK: Final = 9
"""Digits."""


def replay_through(requests: Sequence[Request], way: Way, *, seed: int = 1) -> Tally:
    """Send recorded requests through the middleware, and tell what was let through."""
    clock, tally = ManualClock(), Tally()
    tally.offered = sum(request.tokens for request in requests)
    plan = _plan(requests)
    limiter = _WatchedLimiter(AsyncMemoryBackend(MemoryBackend(clock=clock)))
    app = RateLimitMiddleware(
        _Upstream(limiter, tally),
        limiter,
        _anybody(Identity.of("replay", plan)),
        output=way.output,
        tokens=_MarkedTokens() if way.knows_input else None,
        clock=lambda: clock() / 1e6,
    )
    largest = max(request.output_tokens for request in requests)
    random = Random(seed)

    async def traffic() -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with asyncio.TaskGroup() as tasks:
            for request in requests:
                await asyncio.sleep(started + request.at_us / 1e6 - loop.time())
                caps = {"usual": CAP, "largest": largest, "known": request.output_tokens}
                body = _body(request, caps[way.cap], random)
                tasks.create_task(exchange(app, _PATH, body, recorded=request))

    run_virtually(traffic, clock)
    return tally


def _anybody(identity: Identity) -> Callable[[RequestHead], Identity]:
    return lambda _head: identity


def _plan(requests: Sequence[Request]) -> Plan:
    minutes = requests[-1].at_us / 60e6
    offered = sum(request.tokens for request in requests)
    tpm = round(offered / minutes / OVERLOAD)
    return Plan("replay", limits=[Limit("requests", 1_000_000, 60), Limit("tokens", tpm, 60)])


def _body(request: Request, cap: int, random: Random) -> bytes:
    tokens = max(1, request.input_tokens - _AROUND)
    size = round(tokens * BYTES_PER_TOKEN * random.lognormvariate(0.0, SCATTER))
    text = f"{request.input_tokens:0{_MARK}}{prose(size - _MARK)}"
    return orjson.dumps(
        {
            "model": _MODEL,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": cap,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )


def goodput_rows(traces: Sequence[Path]) -> list[Row]:
    """Every way on every trace, against the one that knows the sizes."""
    rows: list[Row] = []
    for trace in traces:
        requests = read_trace(trace)
        tallies = {way: replay_through(requests, way) for way in WAYS}
        rows += [row for way, tally in tallies.items() for row in _rows(trace.stem, way, tally, tallies[KNOWN])]
    return rows


def _rows(trace: str, way: Way, tally: Tally, known: Tally) -> Iterator[Row]:
    judged = way is LEARNED
    yield Row(
        section=f"Goodput at {OVERLOAD} x overload, {trace}",
        name=way.name,
        value=100 * tally.admitted / known.admitted,
        unit="%",
        against=f"of known sizes; {tally.over_reservation:.2f} x reserved",
        figure=at_least(_SHARE_LEAST) if judged else None,
    )
    yield Row(
        section=f"Goodput at {OVERLOAD} x overload, {trace}",
        name=f"{way.name}, overruns",
        value=100 * tally.overrun_share,
        unit="%",
        against="of the tokens let through",
        figure=at_most(_OVERRUN_MOST) if judged else None,
    )


_SHARE_LEAST: Final = 97
_OVERRUN_MOST: Final = 2
