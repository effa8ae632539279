"""A gateway of our own on loopback, started by the command line as an operator would, with plans and keys in files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ratelimit.plans import PlanRegistry
from ratelimit.web.keys.store import KeyStore
from tests.servers import eventually, reaper

__all__ = ("Access", "Gateway")

_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
# Limits of a year hardly drain while tests run, so that what remains is exact; those below a thousand tokens are shown
# exactly in both dialects. "Hourly" and "Daily" refuse for longer than a minute, "Fast" for a fraction of a second.
_PLANS = """
[plans.Wide]
limits = [
  {meter = "requests", amount = 1_000_000, period = "365 days"},
  {meter = "tokens", amount = 100_000_000, period = "365 days"},
]

[plans.Exact]
limits = [
  {meter = "requests", amount = 10_000, period = "365 days"},
  {meter = "tokens", amount = 999, period = "365 days"},
]

[plans.Hourly]
limits = [
  {meter = "requests", amount = 2, period = "hour"},
  {meter = "tokens", amount = 100_000, period = "hour"},
]

[plans.Daily]
limits = [
  {meter = "requests", amount = 1_000, period = "day"},
  {meter = "tokens", amount = 900, period = "day"},
]

[plans.Fast]
limits = [
  {meter = "requests", amount = 1, period = "150ms"},
  {meter = "tokens", amount = 1_000_000, period = "minute"},
]

[plans.Flow]
limits = [
  {meter = "requests", amount = 1_000, period = "minute"},
  {meter = "tokens", amount = 300, period = "300ms"},
]
"""
_KEYS_PER_PLAN = {"Wide": 12, "Exact": 100, "Hourly": 10, "Daily": 25, "Fast": 30, "Flow": 20}


class Access:
    """Plan and keys files for gateways, and the keys of each plan."""

    def __init__(self, folder: Path) -> None:
        self.plans = folder / "plans.toml"
        self.keys = folder / "keys.json"
        self.plans.write_text(_PLANS)
        store = KeyStore(self.keys, plans=PlanRegistry.from_file(self.plans))
        self.made = {plan: [store.add(plan).key for _ in range(number)] for plan, number in _KEYS_PER_PLAN.items()}


class Gateway:
    """`ratelimit serve` in a process of its own. A context manager.

    Args:
        access: plans and keys.
        log: the file for what it says.
        options: further options of the command.
        upstream: a gateway that it stands in front of, in place of the built-in upstream.
    """

    def __init__(self, access: Access, log: Path, *options: str, upstream: Gateway | None = None) -> None:
        self._unused = {plan: list(keys) for plan, keys in access.made.items()}
        self.anyone: str = self.key("Wide")
        """A key for tests that do not look at what is left of it: they share it."""
        self.url: str = ""
        self._log = log
        files = ["--plans", str(access.plans), "--keys", str(access.keys)]
        command = [sys.executable, "-m", "ratelimit", "serve", "--port", "0", *files, *options]
        env = dict(os.environ)
        if upstream is not None:
            command += ["--upstream", upstream.url]
            env["RATELIMIT_UPSTREAM_KEY"] = upstream.anyone
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env)
        reaper.watch_process(self._process.pid)

    def __enter__(self) -> Gateway:
        try:
            self.url = eventually(self._address, what="the gateway says its address")
            eventually(self._is_up, what="the gateway answers")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        reaper.forget_process(self._process.pid)
        assert self._process.wait(60) == 0, f"the gateway did not end well: {self.log()}"

    def key(self, plan: str) -> str:
        """A key of this plan that nobody has used here before."""
        assert self._unused[plan], f"more tests than keys for {plan}: make more of them"
        return self._unused[plan].pop()

    def remaining(self, key: str) -> tuple[int, int]:
        """Requests and tokens that this key has left after one more request, which costs no tokens."""
        body = json.dumps({"model": "glm-5", "messages": [{"role": "user", "content": "Hello"}]}).encode()
        headers = {"x-api-key": key, "anthropic-version": "2023-06-01", "content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}/v1/messages/count_tokens", body, headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            names = ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-tokens-remaining")
            requests, tokens = (int(response.headers[name]) for name in names)
        return requests, tokens

    def spent(self, key: str, expected: Callable[[int], bool]) -> int:
        """Tokens that an `Exact` key has spent, as soon as they are as expected: settling takes its own time."""
        seen = -1

        def is_expected() -> bool:
            nonlocal seen
            seen = 999 - self.remaining(key)[1]
            return expected(seen)

        try:
            eventually(is_expected)
        except TimeoutError:
            raise AssertionError(f"{seen} tokens are spent, which was not expected") from None
        return seen

    def log(self) -> str:
        """What it has said."""
        return self._log.read_text(errors="replace")

    def _address(self) -> str:
        assert self._process.poll() is None, f"the gateway ended with {self._process.returncode}: {self.log()}"
        found = _ADDRESS.search(self.log())
        return found[0] if found else ""

    def _is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=10):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return True  # it is up, and says that its backend is not
        except urllib.error.URLError:
            return False
