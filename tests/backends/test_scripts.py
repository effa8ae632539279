"""Promises of `ratelimit.backends.scripts`: how scripts are found and put together."""

from __future__ import annotations

from hashlib import sha1
from pathlib import Path

import pytest

from ratelimit.backends import scripts
from ratelimit.backends.scripts import SCRIPT_NAMES, compose, load_script, lua_root
from ratelimit.errors import ConfigError


def write(root: Path, **files: str) -> Path:
    """Script files; `__` in a name stands for a slash."""
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.lua"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return root


def include(name: str) -> str:
    """An include line."""
    return f'--- @include "lib/{name}.lua"\n'


def test_a_part_takes_the_place_of_its_line(tmp_path: Path) -> None:
    """In the order of the lines, at any depth, also indented."""
    root = write(
        tmp_path,
        main=f"one\n  {include('a')}two\n{include('c')}",
        lib__a=f"a1\n{include('b')}a2\n",
        lib__b="b\n",
        lib__c="c\n",
    )
    script = compose(root, "main")
    assert script.text == "one\na1\nb\na2\ntwo\nc\n"
    assert script.lines == ("main.lua:1", "lib/a.lua:1", "lib/b.lua:1", "lib/a.lua:3", "main.lua:3", "lib/c.lua:1")
    assert script.sha == sha1(script.text.encode()).hexdigest()


def test_a_script_can_run_another_one(tmp_path: Path) -> None:
    """As a function with KEYS and ARGV of its own. What it needs and sees already is not put in again."""
    root = write(
        tmp_path,
        main=f'{include("a")}--- @include "one.lua" as first\n--- @include "two.lua" as second\n',
        one=f"{include('a')}one\n{include('b')}",
        two=f"{include('b')}two\n",
        lib__a="a\n",
        lib__b="b\n",
    )
    script = compose(root, "main")
    assert script.text.splitlines() == [
        "a",
        *("local function first(KEYS, ARGV)", "one", "b", "end"),
        *("local function second(KEYS, ARGV)", "b", "two", "end"),
    ]
    assert script.lines == (
        "lib/a.lua:1",
        *("main.lua:2", "one.lua:2", "lib/b.lua:1", "main.lua:2"),
        *("main.lua:3", "lib/b.lua:1", "two.lua:2", "main.lua:3"),
    )


def test_a_part_can_be_replaced(tmp_path: Path) -> None:
    """As the virtual clock takes the place of the server's."""
    root = write(tmp_path, main=include("a"), lib__a="real\n", lib__b="virtual\n")
    script = compose(root, "main", {"lib/a.lua": "lib/b.lua"})
    assert script.text == "virtual\n"
    assert script.lines == ("lib/b.lua:1",)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"main": include("a")}, r"^include not found: main\.lua -> lib/a\.lua$"),
        ({}, r"^include not found: main\.lua$"),
        (
            {"main": include("a"), "lib__a": include("b"), "lib__b": include("a")},
            r"^circular include in the Lua scripts: main\.lua -> lib/a\.lua -> lib/b\.lua -> lib/a\.lua$",
        ),
        (
            {"main": include("a") + include("b"), "lib__a": "a\n", "lib__b": include("a")},
            r"^lib/a\.lua is included twice in main\.lua: main\.lua -> lib/b\.lua -> lib/a\.lua$",
        ),
        ({"main": include("../../secret")}, r"^include path 'lib/\.\./\.\./secret\.lua' leaves the folder of scripts"),
        ({"main": include("/etc")}, r"^include path 'lib//etc\.lua' leaves the folder"),
    ],
)
def test_an_include_that_cannot_be_followed_is_an_error(tmp_path: Path, files: dict[str, str], message: str) -> None:
    """The message shows the way to it."""
    with pytest.raises(ConfigError, match=message):
        compose(write(tmp_path, **files), "main")


def test_a_servers_line_numbers_lead_to_the_file(tmp_path: Path) -> None:
    """In any wording; a number that is not in the script stays."""
    script = compose(write(tmp_path, main=f"one\n{include('a')}", lib__a="a1\na2\n"), "main")
    assert script.locate("user_script:3: bad") == "lib/a.lua:2: bad"
    assert script.locate("ERR (call to f_12): @user_script:1: bad") == "ERR (call to f_12): main.lua:1: bad"
    assert script.locate("user_script:4: user_script:0: bad") == "user_script:4: user_script:0: bad"


@pytest.mark.parametrize("name", SCRIPT_NAMES)
def test_every_script_loads_once(name: str) -> None:
    """The same object each time; with a virtual clock, another one unless the script needs no time."""
    assert load_script(name) is load_script(name)
    assert (load_script(name, virtual_clock=True).sha != load_script(name).sha) is (name != "reset")


def test_an_unknown_script_is_an_error() -> None:
    """Its name never becomes a path."""
    with pytest.raises(
        ConfigError, match=r"^no Lua script named '\.\./x': known are batch, express, peek, reserve, reset, settle$"
    ):
        load_script("../x")


class Package:
    """Stands for an installed package and the folder beside it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.package = root / "ratelimit"
        (self.package / "backends").mkdir(parents=True)
        monkeypatch.setattr(scripts, "files", lambda name: root / name)
        monkeypatch.setattr(scripts, "__file__", str(self.package / "backends" / "scripts.py"))


def test_scripts_inside_the_package_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel brings its own, whatever lies beside it."""
    package = Package(tmp_path, monkeypatch).package
    (package / "lua").mkdir()
    (tmp_path / "lua").mkdir()
    (tmp_path / "pyproject.toml").touch()
    assert lua_root() == package / "lua"


def test_a_checkout_has_them_beside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recognised by its pyproject.toml: a stray folder in site-packages may be anybody's."""
    package = Package(tmp_path, monkeypatch).package
    (tmp_path / "lua").mkdir()
    with pytest.raises(
        ConfigError, match=r"^the Lua scripts are neither in .* nor in .*: the installation is incomplete"
    ):
        lua_root()
    (tmp_path / "pyproject.toml").touch()
    assert lua_root() == package.parent / "lua"
