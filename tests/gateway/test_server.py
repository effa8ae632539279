"""Promises of `ratelimit serve`: it starts with nothing, says what to do, and stops when told to."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer
from typer.testing import CliRunner

from ratelimit.cli.serve import serve

_PROGRAM = "import typer; from ratelimit.cli.serve import serve; typer.run(serve)"
app = typer.Typer()
app.command()(serve)


class Gateway:
    """A gateway in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("RATELIMIT_")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
        )
        self.said: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.rstrip("\n"))
            if line.startswith("  curl "):
                break

    @property
    def curl(self) -> list[str]:
        """The command that it suggests, as words."""
        return shlex.split(self.said[-1])

    @contextlib.contextmanager
    def request(self, *, stream: bool = False, tokens: int | None = None) -> Iterator[http.client.HTTPResponse]:
        """Do what the command would."""
        words = self.curl
        headers = dict(word.split(": ", 1) for flag, word in pairwise(words) if flag == "-H")
        body = json.loads(words[words.index("-d") + 1]) | ({"stream": True} if stream else {})
        if tokens is not None:
            headers["x-mock-output-tokens"] = str(tokens)
        url = urlsplit(words[-1])
        with contextlib.closing(http.client.HTTPConnection(url.netloc, timeout=20)) as connection:
            connection.request("POST", url.path, json.dumps(body), headers)
            with connection.getresponse() as response:
                yield response

    def finish(self) -> tuple[int, list[dict[str, Any]]]:
        """Exit code and lines of the log, once it has ended."""
        _, err = self.process.communicate(timeout=20)
        return self.process.returncode, [json.loads(line) for line in err.splitlines()]


@contextlib.contextmanager
def gateway(*arguments: str) -> Iterator[Gateway]:
    """A running one; killed if the test fails."""
    running = Gateway(*arguments)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.communicate()


def test_it_starts_with_nothing_and_finishes_what_is_under_way() -> None:
    """The command it prints works; by SIGTERM in the middle of a stream it is made to send the rest and exit with 0."""
    with gateway("--mock-tokens-per-second", "200") as running:
        assert running.said[0].startswith("ratelimit listens on http://127.0.0.1:")
        with running.request(tokens=1) as answer:
            assert json.loads(answer.read())["usage"]["completion_tokens"] == 1
        with running.request(stream=True, tokens=50) as stream:
            first = stream.readline()
            running.process.send_signal(signal.SIGTERM)
            rest = stream.read()
        code, log = running.finish()
    assert code == 0
    events = (first + rest).split(b"\n\n")
    assert events[-2] == b"data: [DONE]"
    assert len(events) == 1 + 50 + 1 + 1 + 1  # the role, the tokens, the end, [DONE], and nothing behind it
    assert [(line["path"], line["status"], line["complete"]) for line in log] == [
        ("/v1/chat/completions", 200, True)
    ] * 2


def test_a_stream_that_outlasts_the_grace_is_cut_without_a_fuss() -> None:
    """By SIGINT; the client sees a connection that breaks, the operator lines of JSON and exit code 0."""
    with gateway("--mock-tokens-per-second", "10", "--grace", "0") as running:
        with running.request(stream=True, tokens=30) as stream:
            stream.readline()
            running.process.send_signal(signal.SIGINT)
            with pytest.raises(http.client.IncompleteRead):
                stream.read()
        code, log = running.finish()
    assert code == 0
    assert [line["complete"] for line in log if "path" in line] == [False]
    assert not [line for line in log if "Traceback" in str(line)]


def failing(*arguments: str) -> str:
    """What is said on stderr by a start that fails."""
    result = CliRunner().invoke(app, [*arguments])
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    return result.stderr


def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    """A port in use, a host that is not here, files that are not right, a backend that cannot be."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert failing("--port", str(port)).startswith(f"ratelimit: cannot listen on 127.0.0.1, port {port}: ")
    assert failing("--host", "192.0.2.1", "--port", "0").startswith("ratelimit: cannot listen on 192.0.2.1, port 0: ")
    missing = tmp_path / "none.toml"
    for option in ("--keys", "--plans", "--config"):
        assert failing(option, str(missing)).startswith(f"ratelimit: {missing}: cannot be read")
    assert failing("--port", "70000").startswith("ratelimit: command line: port = 70000: must be")
    assert failing("--upstream", "vllm").startswith("ratelimit: command line: upstream = 'vllm': must be mock")
    assert "http" in failing("--backend", "http://localhost")


def test_a_missing_package_names_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, not a traceback."""
    monkeypatch.delitem(sys.modules, "ratelimit.gateway.server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert failing() == "ratelimit: the gateway needs uvicorn: pip install 'llm-ratelimit[gateway]'\n"
