"""Promises of `ratelimit plans` and of the command line as a whole."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from ratelimit.cli import app


def test_the_builtin_plans_are_shown() -> None:
    """Every limit of every built-in plan has a row with its burst and its resolution, within 100 columns."""
    result = CliRunner().invoke(app, ["plans"])
    assert result.exit_code == 0
    rows = [line.split("  ") for line in result.stdout.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert ["Pro", "60 requests per minute", "60", "1 unit = 1/1,000,000, 1 per µs"] in cells
    assert ["12,000,000 tokens per minute", "12,000,000", "1 unit = 1/5, 1 per µs"] in cells
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_plans_of_a_file_are_shown_as_they_are(tmp_path: Path) -> None:
    """`--plans` shows another file's plans, with names that look like markup left alone."""
    file = tmp_path / "plans.toml"
    file.write_text('[plans."[red]Odd :smile:"]\nlimits = [{meter = "tokens", rate = "7/day", burst = 9}]\n')
    result = CliRunner().invoke(app, ["plans", "--plans", str(file)])
    assert result.exit_code == 0
    assert "[red]Odd :smile:" in result.stdout
    assert "7 tokens per day" in result.stdout
    assert "Lite" not in result.stdout


def test_a_wrong_file_is_one_line(tmp_path: Path) -> None:
    """What is wrong with a plan file is one line on stderr and exit code 2."""
    file = tmp_path / "plans.toml"
    file.write_text("[plans.Pro]\nrpm = 0\n")
    result = CliRunner().invoke(app, ["plans", "--plans", str(file)])
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith(f"ratelimit: {file}: plans.Pro.rpm = 0: ")


def test_the_version_is_shown() -> None:
    """`--version` names the program and exits."""
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("ratelimit ")
