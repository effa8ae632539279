"""A TCP proxy in front of a server that loses, delays and duplicates exactly the messages it is told to."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Iterable, Mapping
from itertools import chain
from types import TracebackType
from typing import Any, TypeVar

import redis

from .faults import Action, Counters, FaultPlan, Rule
from .link import Link, Shared, Stream
from .ports import HOST
from .server import plain_client
from .waiting import PATIENCE

__all__ = ("FaultProxy",)

T = TypeVar("T")


class FaultProxy:
    """Listens on a loopback port of its own and runs in its own thread; every method may be called from any thread.

    It knows where commands and replies end (RESP2 and RESP3), so a fault hits the command it is meant for. Commands
    with no reply or several (MONITOR, SUBSCRIBE, CLIENT REPLY OFF) would put it out of step and are not supported.
    """

    def __init__(
        self, target_host: str, target_port: int, *, names: Iterable[str] | None = ("EVAL", "EVALSHA")
    ) -> None:
        """Describe the proxy; faults apply to commands of these *names* only, None means all commands."""
        self._target = (target_host, target_port)
        self._shared = Shared(FaultPlan(names))
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._links: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._errors: list[BaseException] = []
        self._port: int | None = None

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1; known once started."""
        if self._port is None:
            raise RuntimeError("the proxy has not been started: it has no port yet")
        return self._port

    @property
    def url(self) -> str:
        """The address for `redis.from_url`."""
        return f"redis://{HOST}:{self.port}/0"

    def client(self, **options: Any) -> redis.Redis:
        """A new redis-py client that does not retry, connected through the proxy."""
        return plain_client(self.port, **options)

    def next(self, *actions: Action) -> None:
        """Queue one action for each of the next matching commands; PASS counts one off."""
        self._shared.plan.enqueue(actions)

    def rule(self, rule: Rule | None) -> None:
        """Ask *rule* about each matching command that the queue has no action for; it may return None to pass."""
        self._shared.plan.set_rule(rule)

    def random(self, seed: int, p: Mapping[Action, float]) -> None:
        """Draw an action for each matching command that neither queue nor rule decides; what *p* leaves of 1 passes.

        The n-th drawing depends on the seed alone.
        """
        self._shared.plan.set_random(seed, p)

    def clear(self) -> None:
        """Drop queue, rule and random mode. Held commands stay held."""
        self._shared.plan.clear()

    @property
    def queued(self) -> int:
        """How many queued actions are left: 0 once the test's faults have all happened."""
        return self._shared.plan.queued

    @property
    def held(self) -> int:
        """How many commands wait for `release`."""
        return len(self._shared.held)

    def release(self, *, within: float = PATIENCE) -> int:
        """Let the held commands go to the server, wait until it has executed them, and return how many there were."""
        return self._call(self._release(), within)

    def retarget(self, target_host: str, target_port: int) -> None:
        """Send new connections to another server; existing ones stay where they are."""
        self._target = (target_host, target_port)

    @property
    def counters(self) -> Counters:
        """A snapshot of the counters."""
        return self._call(self._snapshot(), PATIENCE)

    def start(self) -> FaultProxy:
        """Listen."""
        listening: concurrent.futures.Future[int] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, args=(listening,), name="fault-proxy", daemon=True)
        self._thread.start()
        self._port = listening.result(PATIENCE)
        return self

    def close(self) -> None:
        """End all connections (held commands are lost) and raise what a rule raised, if any did."""
        if self._thread is None:
            return
        assert self._loop is not None
        assert self._ended is not None
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(PATIENCE)
        self._thread = None
        if self._errors:
            raise self._errors[0]

    def __enter__(self) -> FaultProxy:
        """Start."""
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Close."""
        self.close()

    def _call(self, job: Coroutine[None, None, T], within: float) -> T:
        assert self._loop is not None, "the proxy has not been started"
        return asyncio.run_coroutine_threadsafe(job, self._loop).result(within)

    def _run(self, listening: concurrent.futures.Future[int]) -> None:
        try:
            asyncio.run(self._serve(listening))
        except BaseException as error:
            if listening.done():
                self._errors.append(error)
            else:
                listening.set_exception(error)

    async def _serve(self, listening: concurrent.futures.Future[int]) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, HOST, 0)
        listening.set_result(server.sockets[0].getsockname()[1])
        await self._ended.wait()
        server.close()
        links = dict(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)
        for writer in chain.from_iterable(links.values()):
            writer.transport.abort()  # it may have unsent data, or its task was cancelled before it began
        await asyncio.sleep(0)  # the sockets of aborted transports are closed in the loop's next round

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Start a link in a task of ours: asyncio reports failures of its own ones to a log only."""
        writers = [writer]
        link = asyncio.create_task(self._carry((reader, writer), writers))
        self._links[link] = writers
        link.add_done_callback(self._links.pop)

    async def _carry(self, client: Stream, writers: list[asyncio.StreamWriter]) -> None:
        self._shared.counters.connections += 1
        try:
            server = await asyncio.open_connection(*self._target)
        except OSError:
            client[1].transport.abort()  # the nearest thing to a refused connection once it has been accepted
            return
        writers.append(server[1])
        try:
            await Link(self._shared, client, server).run()
        except Exception as error:
            self._errors.append(error)

    async def _release(self) -> int:
        held = list(self._shared.held)
        for exchange in held:
            exchange.released.set()
        for exchange in held:
            await exchange.over.wait()
        return len(held)

    async def _snapshot(self) -> Counters:
        return self._shared.counters.copy()
