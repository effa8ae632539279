"""How fast streams of a thousand chunks pass through the middleware, beside the same streams without it."""

from __future__ import annotations

import asyncio
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final, cast

import uvloop

from benchmarks.apps import App, Keys, limited, make_keys
from benchmarks.interleave import Case, interleave, ratio
from benchmarks.protocol import Request, call
from benchmarks.results import Row, at_least
from benchmarks.stream_server import AT_ONCE, STREAMS, TURNS, streams
from benchmarks.wire import chat_request, messages_request
from tests.servers import eventually

__all__ = ("stream_rows",)

_BARE: Final = "/bare"
_CLIENTS: Final = 4
"""Streams that are read at once, so that the server always has something to do."""
_STREAMS: Final = 8
"""Streams per pass."""
_PACES: Final = {TURNS: "a chunk a turn", AT_ONCE: "at once"}
_LOOK_EVERY_S: Final = 0.002
_END: Final = b"0\r\n\r\n"
"""The last chunk of a chunked body; no text chunk of ours ends like it."""
_FIGURE: Final = at_least(0.9)


def stream_rows(rounds: int) -> list[Row]:
    """Through a real server, then at the level of the protocol."""
    with TemporaryDirectory() as folder:
        keys = make_keys(Path(folder), 1)
        with _server(keys) as address:
            served = _served(address, keys.keys[0], rounds)
        return [*_served_rows(served), *_protocol_rows(keys, rounds)]


def _path(name: str) -> str:
    """Where to ask for a stream: its pace is part of the prefix, as in "/turns-openai/v1/chat/completions"."""
    stream = name.removeprefix(TURNS).removeprefix(AT_ONCE)
    return f"/{name}{STREAMS[stream][0]}"


def _body(name: str) -> bytes:
    return messages_request(1_000, stream=True) if name.endswith("anthropic") else chat_request(1_000, stream=True)


# Through a real server


@dataclass(slots=True)
class _Passes:
    """Microseconds per stream, pass by pass: by the clock, and of the server's CPU time."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@contextmanager
def _server(keys: Keys) -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        command = [sys.executable, "-m", "benchmarks.stream_server", str(listener.fileno()), str(keys.file)]
        process = subprocess.Popen([*command, keys.subjects[0]], pass_fds=[listener.fileno()])
        address: tuple[str, int] = listener.getsockname()
        try:
            eventually(lambda: _cpu_ns(address) > 0, what="the server of streams answers")
            yield address
        finally:
            process.terminate()
            process.wait()


def _cpu_ns(address: tuple[str, int]) -> int:
    with socket.create_connection(address) as connection:
        connection.sendall(b"GET /cpu HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4_096), b""))
    return int(answer.rpartition(b"\r\n\r\n")[2])


def _served(address: tuple[str, int], key: str, rounds: int) -> dict[str, _Passes]:
    """Every stream, with and without the middleware, once per round in another order each time."""
    asked = {
        prefix + name: _http(prefix + _path(name), key, _body(name)) for name in streams() for prefix in ("", _BARE)
    }
    passes = {name: _Passes() for name in asked}
    order = Random(1)
    for number in range(rounds + 1):
        for name in order.sample(list(asked), len(asked)):
            cpu, wall = _cpu_ns(address), time.perf_counter_ns()
            _read_streams(address, asked[name])
            wall_end, cpu_end = time.perf_counter_ns(), _cpu_ns(address)
            if number:  # the first round does not count
                passes[name].wall.append((wall_end - wall) / 1_000 / _STREAMS)
                passes[name].cpu.append((cpu_end - cpu) / 1_000 / _STREAMS)
    return passes


def _http(path: str, key: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nauthorization: Bearer {key}\r\n"
    )
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def _read_streams(address: tuple[str, int], request: bytes) -> None:
    """Ask for streams on a few connections, and read each to its end. Looks at nothing but the end."""
    left = _STREAMS
    with selectors.DefaultSelector() as selector:
        buffer = bytearray(1 << 18)
        for _ in range(_CLIENTS):
            connection = socket.create_connection(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection, selectors.EVENT_READ, bytearray())
            connection.sendall(request)
            left -= 1
        while selector.get_map():
            # A reader that wakes for every chunk would have the server pay for waking it, as both are on one machine.
            time.sleep(_LOOK_EVERY_S)
            for ready, _ in selector.select():
                connection = cast(socket.socket, ready.fileobj)
                size = connection.recv_into(buffer)
                if not size:
                    raise AssertionError("the server closed the connection within a stream")
                tail: bytearray = ready.data
                tail += buffer[max(0, size - len(_END)) : size]
                del tail[: -len(_END)]
                if tail != _END:
                    continue
                if left:
                    left -= 1
                    connection.sendall(request)
                else:
                    selector.unregister(connection)
                    connection.close()


def _served_rows(passes: dict[str, _Passes]) -> Iterator[Row]:
    for name in streams():
        ours, bare = passes[name], passes[_BARE + name]
        yield Row(
            section="Streams of 1,000 chunks, uvicorn",
            name=_title(name),
            value=median(ours.wall) / 1_000,
            unit="ms",
            cpu=median(ours.cpu),
            ratio=ratio(bare.wall, ours.wall),
            against="throughput without",
            figure=_FIGURE,
        )


def _title(name: str) -> str:
    pace = TURNS if name.startswith(TURNS) else AT_ONCE
    return f"{name.removeprefix(pace)}, {_PACES[pace]}"


# At the level of the protocol


def _protocol_rows(keys: Keys, rounds: int) -> list[Row]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        cases = []
        for name, app in streams().items():
            behind = runner.run(limited(app, keys, "memory://", prefixes=[f"/{name}"]))
            request = Request(_path(name), keys.keys[0], _body(name))
            cases += [Case(name, 1, _one(runner, behind, request)), Case(_BARE + name, 1, _one(runner, app, request))]
        timings = interleave(cases, rounds)
    return [
        Row(
            section="Streams of 1,000 chunks, at the level of the protocol",
            name=_title(name),
            value=median(b - a for a, b in zip(timings[_BARE + name].cpu, timings[name].cpu, strict=True)),
            cpu=timings[name].median_cpu,
            ratio=ratio(timings[_BARE + name].cpu, timings[name].cpu),
            against="speed without; time added",
        )
        for name in streams()
    ]


def _one(runner: asyncio.Runner, app: App, request: Request) -> Callable[[], None]:
    return lambda: runner.run(call(app, request))
