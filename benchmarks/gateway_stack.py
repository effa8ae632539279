"""`python -m benchmarks.gateway_stack`: which HTTP client and which server the gateway should stand on.

Every combination is a bare reverse proxy in a process of its own, in front of an upstream that costs nothing. All of
them are up at once; each round asks each of them, in another order each time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from statistics import median

import uvloop
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.gateway_parts import CHUNK, CLIENTS, GATEWAY
from benchmarks.interleave import ratio

__all__ = ("main",)

_BODY = b'{"model":"m","messages":[{"role":"user","content":"' + b"word " * 195 + b'"}]}'
_HEAD = (
    b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: application/json\r\naccept-encoding: gzip, deflate\r\n"
    b"user-agent: OpenAI/Python\r\nx-stainless-lang: python\r\nx-stainless-retry-count: 0\r\n"
    b"authorization: Bearer sk-benchmark\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
)
_CHAT = b"/v1/chat/completions"
_CONNECTIONS, _CHUNKS, _PACE_MS = 16, 100, 5


@dataclass(slots=True)
class Stack:
    """One combination, and what was measured of it, round by round."""

    server: str
    client: str
    port: int
    rates: list[float] = field(default_factory=list)
    """Requests per second."""
    request_us: list[float] = field(default_factory=list)
    """CPU per request."""
    chunk_us: list[float] = field(default_factory=list)
    """CPU per chunk of SSE."""

    def cpu(self) -> float:
        """Microseconds of CPU that the process has used."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/cpu", timeout=10) as response:
            return int(response.read()) / 1_000

    def measure(self, requests: int) -> None:
        """One round."""
        before, started = self.cpu(), time.perf_counter()
        uvloop.run(_load(self.port, _CHAT, requests))
        self.rates.append(requests / (time.perf_counter() - started))
        between = self.cpu()
        uvloop.run(_load(self.port, b"%b?sse/%d/%d" % (_CHAT, _CHUNKS, _PACE_MS), _CONNECTIONS))
        self.request_us.append((between - before) / requests)
        self.chunk_us.append((self.cpu() - between) / _CONNECTIONS / _CHUNKS)


async def _load(port: int, path: bytes, requests: int) -> None:
    """So many requests, over connections that send the next one when they have the answer to the last."""
    left = iter(range(requests))
    request = _HEAD % (path, len(_BODY)) + _BODY
    end = b"0\r\n\r\n" if b"?sse/" in path else b'x"}'
    await asyncio.gather(*(_one_after_another(port, request, end, left) for _ in range(_CONNECTIONS)))


async def _one_after_another(port: int, request: bytes, end: bytes, left: Iterator[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    chunks = 0
    for _ in left:
        writer.write(request)
        # Servers may send a body of known length in one chunk and its end in another segment.
        received = await reader.readuntil(end)
        chunks += received.count(CHUNK)
        if b"chunked" in received and not end.startswith(b"0"):
            await reader.readuntil(b"0\r\n\r\n")
        assert received.startswith((b"HTTP/1.1 200", b"\r\nHTTP/1.1 200")), received[:200]
    assert not end.startswith(b"0") or chunks % _CHUNKS == 0
    writer.close()


@contextlib.contextmanager
def _process(*arguments: str, port: int) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.gateway_parts", *arguments])
    try:
        _wait_until_open(process, port)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_open(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _pairs() -> list[tuple[str, str]]:
    """Every client on one server, every server with one client, and the gateway."""
    clients = [name for name in CLIENTS if find_spec(name)]
    servers = [name for name in ("uvicorn, h11", "granian", "hypercorn") if find_spec(name.partition(",")[0])]
    bare = [("uvicorn", client) for client in clients] + [(server, "aiohttp") for server in servers]
    return [*bare, ("uvicorn", GATEWAY)]


def _measure(rounds: int, requests: int) -> list[Stack]:
    upstream = _free_port()
    with contextlib.ExitStack() as running:
        running.enter_context(_process("upstream", str(upstream), port=upstream))
        stacks = [Stack(server, client, _free_port()) for server, client in _pairs()]
        for stack in stacks:
            names = (stack.server, stack.client, str(stack.port), str(upstream))
            running.enter_context(_process("proxy", *names, port=stack.port))
            stack.measure(requests // 4)
            stack.rates, stack.request_us, stack.chunk_us = [], [], []
        order = random.Random(3)
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            for stack in order.sample(stacks, len(stacks)):
                stack.measure(requests)
    return stacks


def _print(stacks: Sequence[Stack]) -> None:
    base = stacks[0]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("server")
    table.add_column("client")
    for title in ("requests/s", "CPU/request", "of the first", "CPU/SSE chunk", "of the first"):
        table.add_column(title, justify="right")
    for stack in stacks:
        table.add_row(
            stack.server,
            stack.client,
            f"{median(stack.rates):,.0f}",
            f"{median(stack.request_us):,.0f} µs",
            f"{ratio(stack.request_us, base.request_us):.2f}",
            f"{median(stack.chunk_us):,.0f} µs",
            f"{ratio(stack.chunk_us, base.chunk_us):.2f}",
        )
    console = Console(width=110, highlight=False, markup=False)
    console.print(table)
    console.print(", ".join(_versions()))


def _versions() -> Iterator[str]:
    yield f"Python {sys.version.split()[0]}"
    for name in ("aiohttp", "httpx", "httpx2", "pyreqwest", "uvicorn", "uvloop", "httptools", "granian", "hypercorn"):
        with contextlib.suppress(PackageNotFoundError):
            yield f"{name} {version(name)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway_stack", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=1_500, help="per stack and round")
    options = parser.parse_args(arguments)
    _print(_measure(options.rounds, options.requests))


if __name__ == "__main__":
    main()
