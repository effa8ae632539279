"""What tests of operations that travel together need: harm on the way, patience, and tasks of one tick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ratelimit import RetryPolicy
from tests.servers import DELAY, DROP_REPLY, RESET_AFTER, RESET_BEFORE, eventually

__all__ = ("HARMFUL", "PATIENT", "STUBBORN", "together", "until")

HARMFUL = {
    "drop-reply": DROP_REPLY,
    "reset-after": RESET_AFTER,
    "reset-before": RESET_BEFORE,
    "late": DELAY(1.5),
}
#: Twenty callers that all connect anew need longer than one does, on a machine that is busy with something else.
STUBBORN = RetryPolicy(timeout=0.5, deadline=10.0, attempts=8)
PATIENT = RetryPolicy(timeout=5.0, deadline=20.0)


async def together(*jobs: Coroutine[Any, Any, Any] | asyncio.Task[Any]) -> list[Any]:
    """Results or errors of jobs that begin in the same tick."""
    return await asyncio.gather(*jobs, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    """Poll without stopping the loop."""
    await asyncio.to_thread(eventually, condition)
