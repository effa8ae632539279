"""`python -m benchmarks` runs, where its extra is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def test_a_section_runs_and_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for module in ("throttled", "pyrate_limiter", "aiolimiter", "slowapi", "httptools"):
        pytest.importorskip(module, reason="needs the extra `bench`")
    from benchmarks.__main__ import main

    file = tmp_path / "results.json"
    main(["--quick", "--only", "bytes", "--json", str(file)])
    written = json.loads(file.read_text(encoding="utf-8"))
    assert "Memory of Redis per subject" in capsys.readouterr().out
    assert {row["unit"] for row in written["rows"]} == {"B"}
    assert written["machine"]["redis-py"]


def test_docs_are_written_by_a_whole_run_only(capsys: pytest.CaptureFixture[str]) -> None:
    for module in ("throttled", "pyrate_limiter", "aiolimiter", "slowapi", "httptools"):
        pytest.importorskip(module, reason="needs the extra `bench`")
    from benchmarks.__main__ import main

    with pytest.raises(SystemExit):
        main(["--docs", "--quick"])
    assert "leave out --quick and --only" in capsys.readouterr().err
