"""Runs the gateway until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Final

import uvicorn

from ratelimit.aio import AsyncLimiter
from ratelimit.errors import ConfigError
from ratelimit.gateway.app import build_app
from ratelimit.gateway.config import GatewayConfig
from ratelimit.gateway.demo import DemoKeys, announcement
from ratelimit.gateway.logs import set_up_logs
from ratelimit.plans import PlanRegistry
from ratelimit.web.keys import ApiKeys

__all__ = ("serve",)

_KEEP_ALIVE_SECONDS: Final = 65
"""Longer than the pools of clients and of the usual load balancers keep a connection, so that they close it first."""
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - what to show in their place


class _Server(uvicorn.Server):
    """Says when it has begun to serve."""

    def __init__(self, config: uvicorn.Config, begun: Callable[[], None]) -> None:
        super().__init__(config)
        self._begun = begun

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._begun()


def serve(config: GatewayConfig, say: Callable[[str], object] = print) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way and return.

    Responses under way get `config.grace` seconds; every settlement is made. `say` gets the lines for whoever started
    the gateway: the address, and the keys if they were made for this start.

    Raises:
        ConfigError: a file, a URL or an address that cannot be used.
    """
    plans = PlanRegistry() if config.plans is None else PlanRegistry.from_file(config.plans)
    identify = DemoKeys(plans) if config.keys is None else ApiKeys(config.keys, plans=plans)
    secret = b"" if config.secret is None else config.secret.get_secret_value()
    limiter = AsyncLimiter.from_url(config.backend, plans=plans, secret=secret)
    app = build_app(config, limiter, identify)
    demo = identify if isinstance(identify, DemoKeys) else None
    with _listening(config.host, config.port) as listener:
        set_up_logs(config.log_level)

        def begun() -> None:
            for line in announcement(_address(listener, config.host), config, demo):
                say(line)

        server = _Server(
            uvicorn.Config(
                app,
                access_log=False,
                lifespan="on",
                log_config=None,
                proxy_headers=False,  # the limits have their own count of trusted hops
                server_header=False,
                timeout_graceful_shutdown=config.grace,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                ws="none",
            ),
            begun,
        )
        with _stopping(server), asyncio.Runner(loop_factory=_new_loop()) as runner:
            runner.run(_run(server, listener, limiter))


async def _run(server: uvicorn.Server, listener: socket.socket, limiter: AsyncLimiter) -> None:
    try:
        await server.serve([listener])
    finally:
        await limiter.close()


@contextmanager
def _stopping(server: uvicorn.Server) -> Iterator[None]:
    """Let SIGTERM and SIGINT end the server, and nothing else.

    uvicorn repeats a signal for the handler that was there before, once it has shut down. That one would end the
    process as if it had been killed, though all has gone well.
    """

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of signal
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that is bound before anything else begins, so that an address in use is one clear error.

    Raises:
        ConfigError: the host is not known here, or the port cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # "localhost" is two addresses, of which one is bound: the one that everybody tries.
        family, kind, protocol, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
        # The protocol is named, not 0: asyncio looks at it before it turns Nagle's algorithm off.
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from None
    with listener:
        if os.name == "posix":  # elsewhere it would let two processes have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            raise ConfigError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from None
        yield listener


def _address(listener: socket.socket, host: str) -> str:
    shown = _ANY.get(host) or (f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{listener.getsockname()[1]}"


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where there is one; it is not made for every system."""
    try:
        uvloop = import_module("uvloop")
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
