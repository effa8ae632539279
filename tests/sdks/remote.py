"""Runs in the environment of an SDK: reads calls from stdin, makes them, and prints what the SDK made of the answers.

One JSON object a line, both ways. It imports nothing of this repository, and of SDKs the one that the argument names.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from contextvars import ContextVar
from inspect import isawaitable
from typing import Any

__all__ = ("Naps", "Sdk", "main")

_CLIENTS = {"openai": ("OpenAI", "AsyncOpenAI"), "anthropic": ("Anthropic", "AsyncAnthropic")}
_TRANSPORTS = ("DefaultHttpxClient", "DefaultAsyncHttpxClient")
_Job = dict[str, Any]
_Report = dict[str, Any]


class Naps:
    """Notes how long the retry loop of an SDK wants to sleep, call by call; sleeps only while told to."""

    def __init__(self) -> None:
        self.sleeps = False
        self._noted: ContextVar[list[float]] = ContextVar("_noted")
        self._sleep = time.sleep

    def watch(self) -> None:
        """Take the place of the two functions by which the SDKs sleep."""
        anyio: Any = importlib.import_module("anyio")
        clock: Any = time
        clock.sleep, anyio.sleep = self._nap, self._nap_async

    def begin(self) -> list[float]:
        """The list for the naps of one call, which has a task or the process to itself."""
        noted: list[float] = []
        self._noted.set(noted)
        return noted

    def _nap(self, seconds: float) -> None:
        self._noted.get().append(seconds)
        self._sleep(seconds if self.sleeps else 0)

    async def _nap_async(self, seconds: float) -> None:
        self._noted.get().append(seconds)
        await asyncio.sleep(seconds if self.sleeps else 0)


class Sdk:
    """An SDK and its clients. Clients are kept, as programs keep them, and their connections with them."""

    def __init__(self, name: str) -> None:
        self._sdk: Any = importlib.import_module(name)
        self._makers = _CLIENTS[name]
        self._clients: dict[str, Any] = {}
        # What the clients would make by default; shared, because reading the certificates takes 50 ms each time.
        self._transports = [getattr(self._sdk, name)() for name in _TRANSPORTS]
        self._runner = asyncio.Runner()
        self._naps = Naps()
        self._naps.watch()

    def serve(self, job: _Job) -> list[_Report]:
        """Make a call as often as is wanted: all at once with an asyncio client, else one after the other."""
        self._naps.sleeps = job["sleeps"]
        if job["is_async"]:
            return self._runner.run(self._gather(job))
        return [self._one(job) for _ in range(job["times"])]

    async def _gather(self, job: _Job) -> list[_Report]:
        return await asyncio.gather(*(self._call(job) for _ in range(job["times"])))

    def _one(self, job: _Job) -> _Report:
        """With a client that never waits for an event loop, a coroutine runs through, without one."""
        try:
            self._call(job).send(None)
        except StopIteration as done:
            report: _Report = done.value
            return report
        raise AssertionError("a sync client waited")

    async def _call(self, job: _Job) -> _Report:
        report: _Report = {"value": None, "events": [], "headers": {}, "retries": 0, "error": None}
        report["slept"] = self._naps.begin()
        target, name = _resource(self._client(job), job["call"])
        try:
            if job["helper"]:
                await _helped(getattr(target, name), job, report)
            else:
                await _plainly(getattr(target.with_raw_response, name), job, report)
        except self._sdk.APIError as error:
            report["error"] = _described(error, report)
        return report

    def _client(self, job: _Job) -> Any:
        key = json.dumps([job["is_async"], job["client"]])
        if key not in self._clients:
            make = getattr(self._sdk, self._makers[job["is_async"]])
            self._clients[key] = make(**job["client"], http_client=self._transports[job["is_async"]])
        return self._clients[key]


async def _plainly(method: Any, job: _Job, report: _Report) -> None:
    """Call a method and read its answer; of a stream only as many events as the job takes, then close it."""
    raw = await _now(method(**job["arguments"]))
    report["headers"], report["retries"] = dict(raw.headers), raw.retries_taken
    value = await _now(raw.parse())
    if not job["arguments"].get("stream"):
        report["value"] = _plain(value)
        return
    wanted = job["take"]
    if wanted != 0:
        async for event in _each(value):
            report["events"].append(_plain(event))
            if len(report["events"]) == wanted:
                break
    if wanted is not None:
        await _now(value.close())


async def _helped(method: Any, job: _Job, report: _Report) -> None:
    """Read a stream by the helper that puts its events together, as the manuals of the SDKs recommend."""
    async with AsyncExitStack() as stack:
        manager = method(**job["arguments"])
        is_async = hasattr(manager, "__aenter__")
        stream = await stack.enter_async_context(manager) if is_async else stack.enter_context(manager)
        report["events"] = [_plain(event) async for event in _each(stream)]
        report["value"] = _plain(await _now(getattr(stream, job["helper"])()))


async def _now(value: Any) -> Any:
    return await value if isawaitable(value) else value


async def _each(stream: Any) -> AsyncIterator[Any]:
    if hasattr(stream, "__aiter__"):
        async for event in stream:
            yield event
    else:
        for event in stream:
            yield event


def _resource(client: Any, call: str) -> tuple[Any, str]:
    """`chat.completions.create` is the method `create` of `client.chat.completions`."""
    *steps, name = call.split(".")
    target = client
    for step in steps:
        target = getattr(target, step)
    return target, name


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def _described(error: Any, report: _Report) -> _Report:
    facts: _Report = {name: getattr(error, name, None) for name in ("type", "code", "param", "body", "request_id")}
    facts["name"] = type(error).__name__
    facts["parents"] = [parent.__name__ for parent in type(error).__mro__[1:]]
    facts["status"] = getattr(error, "status_code", None)
    facts["message"] = str(error)
    response = getattr(error, "response", None)
    if response is not None:
        report["headers"] = dict(response.headers)
        report["retries"] = int(response.request.headers["x-stainless-retry-count"])
    return facts


def main() -> None:
    """Serve until stdin ends."""
    sdk = Sdk(sys.argv[1])
    for line in sys.stdin:
        try:
            answer = json.dumps(sdk.serve(json.loads(line)))
        except Exception:  # whatever it is, the test is to see it
            answer = json.dumps({"crash": traceback.format_exc()})
        print(answer, flush=True)


if __name__ == "__main__":
    main()
