"""Runs a test that is a coroutine function, with a deadline: a test that hangs fails by its own name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec

__all__ = ("in_loop", "until")

P = ParamSpec("P")
_SECONDS = 30.0


def in_loop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """The test in an event loop of its own."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def limited() -> None:
            async with asyncio.timeout(_SECONDS):
                await test(*args, **kwargs)

        asyncio.run(limited())

    return run


async def until(condition: Callable[[], bool]) -> None:
    """Let everything else run until something is so."""
    while not condition():  # noqa: ASYNC110 - of things that have no event
        await asyncio.sleep(0.001)
