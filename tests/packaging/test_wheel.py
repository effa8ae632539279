"""What is shipped: built as a release is (sdist, then the wheel from it), and installed where no checkout is near."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.lua.pins import digests

ROOT = Path(__file__).parents[2]
SOURCES = {
    f"ratelimit/lua/{path.relative_to(ROOT / 'lua')}": path.read_bytes() for path in (ROOT / "lua").rglob("*.lua")
}
DIGESTS = """
import json, pathlib, ratelimit
from ratelimit.backends.scripts import SCRIPT_NAMES, load_script
made = {}
for name in SCRIPT_NAMES:
    made[name] = load_script(name).sha
    made[f"{name} (virtual clock)"] = load_script(name, virtual_clock=True).sha
print(json.dumps([str(pathlib.Path(ratelimit.__file__).parent), made]))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist and the wheel made from it."""
    folder = tmp_path_factory.mktemp("dist")
    # With the back end at hand no environment has to be made, nor anything downloaded.
    isolation = ["--no-isolation"] if find_spec("hatchling") else []
    command = [sys.executable, "-m", "build", *isolation, "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    """The wheel, open."""
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


def test_every_script_is_in_the_wheel_byte_for_byte(wheel: zipfile.ZipFile) -> None:
    """Under ratelimit/lua, and no other file is there."""
    shipped = {name: wheel.read(name) for name in wheel.namelist() if name.startswith("ratelimit/lua/")}
    assert shipped == SOURCES
    assert len(shipped) > 10


def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """No tests, no benchmarks, no stray lua; the marker that says it is typed."""
    names = wheel.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ratelimit"}
    assert "ratelimit/py.typed" in names
    modules = {f"ratelimit/{path.relative_to(ROOT / 'ratelimit')}" for path in (ROOT / "ratelimit").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules


def test_the_wheel_brings_the_license_and_the_command(wheel: zipfile.ZipFile) -> None:
    """And names what it needs."""
    (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    assert f"{info}/licenses/LICENSE" in wheel.namelist()
    assert "ratelimit = ratelimit.__main__:main" in wheel.read(f"{info}/entry_points.txt").decode()
    metadata = wheel.read(f"{info}/METADATA").decode()
    for dependency in ("limits", "pydantic", "redis[hiredis]"):
        assert f"Requires-Dist: {dependency}" in metadata


def test_the_sdist_can_run_its_own_tests(built: Path) -> None:
    """It has the scripts with their README, the tests and the pins."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    here = {f"lua/{path.relative_to(ROOT / 'lua')}" for path in (ROOT / "lua").rglob("*.*")}
    assert here | {"pyproject.toml", "tests/conftest.py", "tests/lua/digests.json", "ratelimit/py.typed"} <= names


def test_an_installed_wheel_composes_the_same_scripts(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """From a folder of its own, in an interpreter that does not see the checkout."""
    import json

    assert wheel.filename
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(tmp_path),
        wheel.filename,
    ]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    found = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{DIGESTS}"],
        check=True, capture_output=True, text=True, timeout=60, cwd=tmp_path, env={"PATH": ""},
    )  # fmt: skip
    where, made = json.loads(found.stdout)
    assert Path(where) == tmp_path / "ratelimit"
    assert made == digests()
