"""What the documentation shows is true: its Python prints what it says, its plan files load, its links lead."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest

from ratelimit import Limiter, PlanRegistry
from tests.conftest import Servers
from tests.docs.pages import PAGES, ROOT, Block, anchors, blocks, links, named_files, section

REDIS = "redis://localhost:6379"
"""The address that pages write; a server of the tests takes its place."""
PLAN_FILES = ("toml", "yaml", "json")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@each_page
def test_the_snippets_of_a_page_run_in_order(
    page: Path, servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python blocks share one namespace; a plan file stands beside them under the name plans.<language>."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks", target_is_directory=True)
    text = page.read_text(encoding="utf-8")
    address = _redis(servers) if REDIS in text else REDIS
    names: dict[str, Any] = {"__name__": page.stem}
    try:
        for block in blocks(page):
            if block.language in PLAN_FILES:
                file = tmp_path / f"plans.{block.language}"
                file.write_text(block.text, encoding="utf-8")
                assert len(PlanRegistry.from_file(file))
            elif block.language == "python":
                _run(page, block, block.text.replace(REDIS, address), names)
    finally:
        for made in names.values():
            if isinstance(made, Limiter):
                made.close()


def _redis(servers: Servers) -> str:
    server = servers.plain()
    # The pages use the prefix that everybody starts with.
    server.call("FLUSHALL")
    return f"redis://127.0.0.1:{server.port}"


def _run(page: Path, block: Block, source: str, names: dict[str, Any]) -> None:
    printed = io.StringIO()
    # Blank lines in front make a traceback show the lines of the page.
    code = compile("\n" * (block.line - 1) + source, str(page), "exec")
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    if block.promised is not None or printed.getvalue():
        assert printed.getvalue() == block.promised, f"{page.name}, the block in line {block.line}"


@pytest.mark.parametrize("heading", ["Run it", "Test it"])
def test_the_readme_has_one_line_to_run_it_and_one_to_test_it(heading: str) -> None:
    """One fenced block, of one line: it can be copied as a whole, by people and by machines."""
    body = section(ROOT / "README.md", heading)
    assert body.count("```") == 2
    command = body.split("```sh\n")[1].split("```")[0]
    assert command.endswith("\n")
    assert command.count("\n") == 1
    assert command.startswith("python3 -m venv .venv && ")


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    """Every link within the repository names a file that is there, and a heading in it."""
    for target in links(page):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {target}"


@each_page
def test_files_that_a_page_names_are_there(page: Path) -> None:
    """A page that says where something is proved or written points at a file of this repository."""
    for path in named_files(page):
        assert (ROOT / path).exists(), f"{page.name} names {path}"


@each_page
def test_nothing_is_left_to_fill_in(page: Path) -> None:
    """Figures that are measured before a release stand as placeholders in double braces until then."""
    assert "{{" not in page.read_text(encoding="utf-8")


@each_page
def test_lines_are_of_a_readable_length(page: Path) -> None:
    """As in the code: 120 columns, but for tables, links and output."""
    in_block = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("```"):
            in_block = not in_block
        elif not in_block and not line.startswith("|") and "](" not in line:
            assert len(line) <= 120, f"{page.name}:{number}"
