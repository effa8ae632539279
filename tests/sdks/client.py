"""The tests' side of an SDK that runs in a process of its own, with the packages that its version wants."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .envs import environment, installed

__all__ = ("Client", "Failure", "Outcome", "SdkProcess")

_REMOTE = Path(__file__).with_name("remote.py")


@dataclass(frozen=True, slots=True)
class Failure:
    """The exception that an SDK raised: its class, the classes above it, and its attributes."""

    name: str
    parents: list[str]
    status: int | None
    type: str | None
    code: str | None
    param: str | None
    request_id: str | None
    body: Any
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a program sees of one call: a value, or events, or an exception; and how it came about.

    `headers` are those of the last response, with names in lower case. `slept` are the seconds that the SDK wanted to
    sleep before each of its `retries`.
    """

    value: Any
    events: list[Any]
    headers: dict[str, str]
    retries: int
    slept: list[float]
    error: Failure | None

    @property
    def failure(self) -> Failure:
        """The exception; an assertion fails if there was none."""
        assert self.error is not None, f"the call did not fail: {self.value}, {self.events}"
        return self.error

    @property
    def success(self) -> Outcome:
        """This outcome; an assertion fails if there was an exception."""
        assert self.error is None, self.error
        return self


class SdkProcess:
    """A version of an SDK, imported once in a process that makes calls for us. A context manager."""

    def __init__(self, name: Literal["openai", "anthropic"], version: str, home: Path) -> None:
        self.name = name
        self.version = version
        # -S and -P: nothing but the SDK's folder and the standard library can be imported.
        command = [sys.executable, "-S", "-s", "-P", str(_REMOTE), name]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(installed(name, version), home),
            cwd=home,
            text=True,
        )

    def __enter__(self) -> SdkProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # it has nothing to lose, and would take a second to tidy up
        self._process.communicate()

    def serve(self, job: Mapping[str, Any]) -> list[Outcome]:
        """Have it make a call."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert isinstance(answer, list), f"{self.name} {self.version}: {answer['crash']}"
        return [_outcome(report) for report in answer]


@dataclass(frozen=True, slots=True)
class Client:
    """A client of an SDK, as a program makes one: sync or asyncio, with arguments such as `base_url` and `api_key`."""

    sdk: SdkProcess
    is_async: bool
    settings: dict[str, Any] = field(default_factory=lambda: {"timeout": 60.0})

    def __str__(self) -> str:
        return f"{self.sdk.name}-{self.sdk.version}-{'asyncio' if self.is_async else 'sync'}"

    def having(self, **settings: Any) -> Client:
        """The same client with further arguments."""
        return Client(self.sdk, self.is_async, {**self.settings, **settings})

    def call(
        self, method: str, *, take: int | None = None, helper: str | None = None, sleeps: bool = False, **arguments: Any
    ) -> Outcome:
        """Call a method such as `chat.completions.create` once; see :meth:`calls`."""
        (outcome,) = self.calls(1, method, take=take, helper=helper, sleeps=sleeps, **arguments)
        return outcome

    def calls(
        self,
        times: int,
        method: str,
        *,
        take: int | None = None,
        helper: str | None = None,
        sleeps: bool = False,
        **arguments: Any,
    ) -> list[Outcome]:
        """Call a method so many times: at once with an asyncio client, else one after the other.

        Args:
            times: how often.
            method: its path from the client, such as `chat.completions.create`.
            take: of a stream, read so many events and close it.
            helper: the call is a streaming helper; the name of the method that then gives the whole.
            sleeps: let the SDK sleep before it retries; otherwise it retries at once, and what it wanted is noted.
            arguments: what the method gets.
        """
        job = {"call": method, "arguments": arguments, "take": take, "helper": helper, "sleeps": sleeps, "times": times}
        return self.sdk.serve({**job, "client": self.settings, "is_async": self.is_async})


def _outcome(report: dict[str, Any]) -> Outcome:
    error = report.pop("error")
    return Outcome(**report, error=None if error is None else Failure(**error))
