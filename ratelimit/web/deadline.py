"""Runs a coroutine within a time, without a timer if it does not have to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

__all__ = ("within",)

T = TypeVar("T")


async def within(seconds: float, coroutine: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns.

    A timer costs as much as reading a request does, and most of what is awaited is there already.

    Raises:
        TimeoutError: it takes longer than `seconds`; it has been cancelled.
    """
    try:
        waiting = coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    async with asyncio.timeout(seconds):
        return await _Rest(coroutine, waiting)


class _Rest(Generic[T]):
    """A coroutine that has begun, and waits for `waiting`: awaits the rest of it."""

    __slots__ = ("_coroutine", "_waiting")

    def __init__(self, coroutine: Coroutine[Any, Any, T], waiting: Any) -> None:
        self._coroutine = coroutine
        self._waiting = waiting

    def __await__(self) -> Generator[Any, Any, T]:
        coroutine, waiting = self._coroutine, self._waiting
        try:
            while True:
                try:
                    sent = yield waiting
                except GeneratorExit:
                    coroutine.close()
                    raise
                except BaseException as error:  # cancelled, most likely: the coroutine has to know
                    waiting = coroutine.throw(error)
                else:
                    waiting = coroutine.send(sent)
        except StopIteration as done:
            result: T = done.value
            return result
