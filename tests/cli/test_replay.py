"""Promises of `ratelimit replay`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ratelimit.cli import app
from ratelimit.plans import PlanRegistry
from ratelimit.replay import Estimate, Settings, read_trace, replay

ROOT = Path(__file__).parents[2]
AZURE = ROOT / "benchmarks" / "traces" / "azure_conv_2023.csv"


@pytest.fixture
def trace(tmp_path: Path) -> str:
    """The first 300 requests of a real trace: 84 seconds."""
    file = tmp_path / "short.csv"
    file.write_text("".join(AZURE.read_text().splitlines(keepends=True)[:301]))
    return str(file)


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    result = CliRunner().invoke(app, ["replay", *arguments])
    return result.exit_code, result.stdout, result.stderr


def report(*arguments: str) -> dict[str, Any]:
    code, out, err = run(*arguments, "--json")
    assert (code, err) == (0, "")
    body: dict[str, Any] = json.loads(out)
    return body


def test_it_answers_which_plan_the_traffic_needs(trace: str) -> None:
    """The four built-in plans stand side by side within 100 columns, and the last line is the advice."""
    code, out, err = run(trace)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 100
    header = next(line for line in lines if "Lite" in line)
    assert header.split("plan")[1].split() == ["Lite", "Pro", "MAX", "5X", "MAX", "20X"]
    assert lines[-1].startswith("Advice  MAX 5X is the smallest of these plans that admits at least 99 %")


def test_json_is_the_report(trace: str) -> None:
    """`--json` prints what the library returns, with the settings and the advice, and nothing else on stdout."""
    body = report(trace, "--plan", "pro", "--estimate", "max", "--keys", "2", "--seed", "7", "--speed", "2")
    settings = Settings(estimate=Estimate.MAX, keys=2, seed=7, speed=2)
    expected = replay(read_trace(trace), PlanRegistry()["Pro"], settings)
    assert body["plans"] == [json.loads(json.dumps(expected.to_dict()))]
    assert body["trace"]["file"] == "short.csv"
    assert body["trace"]["requests"] == 300
    assert (body["settings"]["estimate"], body["settings"]["backend"]) == ("max", "memory")
    assert body["advice"]["plan"] is None


def test_plans_are_chosen_by_name_each_once(trace: str) -> None:
    """`--plan` may be repeated, in any spelling, and a plan named twice is replayed once."""
    body = report(trace, "--plan", "max-20x", "--plan", "LITE", "--plan", "MAX 20X")
    assert [plan["plan"] for plan in body["plans"]] == ["MAX 20X", "Lite"]


def test_plans_can_come_from_a_file(trace: str, tmp_path: Path) -> None:
    """`--plans` replaces the built-in plans; six plans take two tables, still within 100 columns."""
    names = [f"Team {'with a very long name ' * 2}{number}" for number in range(6)]
    file = tmp_path / "plans.json"
    file.write_text(json.dumps({"plans": [{"name": name, "tpm": 10**number} for number, name in enumerate(names, 3)]}))
    assert [plan["plan"] for plan in report(trace, "--plans", str(file))["plans"]] == names
    code, out, _ = run(trace, "--plans", str(file))
    assert code == 0
    assert out.count("Each key has the plan") == 2
    assert max(map(len, out.splitlines())) <= 100


def test_a_narrow_terminal_gets_fewer_plans_side_by_side(trace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers are never broken: where four plans do not fit the terminal, there are more tables of fewer plans."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "75")
    code, out, _ = run(trace, "--quiet")
    assert code == 0
    assert out.count("Each key has the plan") == 2
    assert "12,000,000" in out


def test_assigned_keys_are_admitted_to(trace: str) -> None:
    """With several keys the output says that the tool assigned them, and how."""
    assert "10, assigned by this tool, as the trace names none" in run(trace, "--keys", "10")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plan", "Gold"], "ratelimit: plan 'Gold': no such plan; known: 'Lite', 'Pro', 'MAX 5X', 'MAX 20X'"),
        (["--keys", "0"], "ratelimit: keys is 0: must be a whole number from 1 to 1,000,000"),
        (["--plans", "none.toml"], "ratelimit: none.toml: cannot be read: No such file or directory"),
        (["--backend", "http://x"], "ratelimit: no backend for URLs that start with 'http': use one of "),
        (["--backend", "redis://127.0.0.1:1/0"], "ratelimit: cannot reach a server that serves: "),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(trace: str, arguments: list[str], message: str) -> None:
    """A wrong option, file or backend is one line on stderr, without a traceback, and nothing on stdout."""
    code, out, err = run(trace, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_a_wrong_trace_is_one_line(tmp_path: Path) -> None:
    """What is wrong in a trace is named by file, line, value and rule."""
    file = tmp_path / "trace.csv"
    file.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16,many,1\n")
    assert run(str(file)) == (
        2,
        "",
        f"ratelimit: {file}: line 2: ContextTokens = 'many': must be a whole number from 0 to 100,000,000\n",
    )


@pytest.mark.parametrize(("options", "bar"), [([], True), (["--quiet"], False)])
def test_it_runs_as_a_module_and_progress_stays_on_stderr(trace: str, options: list[str], bar: bool) -> None:
    """`python -m ratelimit replay` works; a bar is drawn on a (forced) terminal unless quiet, and never on stdout."""
    command = [sys.executable, "-m", "ratelimit", "replay", trace, "--plan", "Lite", "--json", *options]
    environment = {**os.environ, "FORCE_COLOR": "1", "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120, check=True)
    assert json.loads(done.stdout)["plans"][0]["plan"] == "Lite"
    assert ("300/300" in done.stderr) is bar
