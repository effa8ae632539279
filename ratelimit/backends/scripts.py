"""Finds, composes and hashes the Lua scripts. One copy of each lives in `lua/`, wherever the package runs from.

A script names its parts with a line `--- @include "lib/name.lua"`; the part takes the place of that line, so a part
that is needed once in a while can be included inside the branch that needs it and costs the other branches nothing.
With `as name` the file becomes a local function of that name, whose parameters are its KEYS and ARGV: so one script can
run others, word for word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from ratelimit.errors import ConfigError

__all__ = ("SCRIPT_NAMES", "Script", "compose", "load_script", "lua_root")

SCRIPT_NAMES = ("batch", "express", "peek", "reserve", "reset", "settle")
_INCLUDE = re.compile(r'^\s*--- @include "(?P<path>[^"]+)"(?: as (?P<function>[a-z_]+))?\s*$')
_VIRTUAL_CLOCK = {"lib/clock.lua": "lib/clock_virtual.lua"}


@dataclass(frozen=True, slots=True)
class Script:
    """A composed script: its text, its SHA-1, and where each line came from."""

    name: str
    text: str
    sha: str
    lines: tuple[str, ...]
    """`lines[n - 1]` is the "file:line" behind line n, for reading `user_script:n:` in a server's error."""

    def locate(self, message: str) -> str:
        """Replace `user_script:57` in a server's error message by the file and line it stands for."""

        def place(match: re.Match[str]) -> str:
            number = int(match["line"])
            return self.lines[number - 1] if 1 <= number <= len(self.lines) else match[0]

        return re.sub(r"@?user_script:(?P<line>\d+)", place, message)


def lua_root() -> Traversable:
    """The folder of scripts: inside the package (wheel), else beside it (checkout, editable install).

    Raises:
        ConfigError: neither place holds them; the message names both.
    """
    inside = files("ratelimit") / "lua"
    if inside.is_dir():
        return inside
    beside = Path(__file__).resolve().parents[2]
    # Without its pyproject.toml, a stray folder named lua beside the package might be anybody's.
    if (beside / "lua").is_dir() and (beside / "pyproject.toml").is_file():
        return beside / "lua"
    raise ConfigError(
        f"the Lua scripts are neither in {inside} nor in {beside / 'lua'}: "
        "the installation is incomplete; reinstall llm-ratelimit"
    )


def compose(root: Traversable, name: str, replace: Mapping[str, str] | None = None) -> Script:
    """Read `name`.lua under `root` with its includes put in place, each at most once where it can be seen.

    What stands before a function is seen inside it, and is not included there again.

    Raises:
        ConfigError: an include that is missing, circular or repeated; the message shows the way to it.
    """
    text: list[str] = []
    lines: list[str] = []

    def put(line: str, place: str) -> None:
        text.append(line)
        lines.append(place)

    def add(path: str, stack: tuple[str, ...], seen: frozenset[str], done: set[str]) -> None:
        way = " -> ".join((*stack, path))
        if path in stack:
            raise ConfigError(f"circular include in the Lua scripts: {way}")
        if path in seen:
            return
        if path in done:
            raise ConfigError(f"{path} is included twice in {name}.lua: {way}")
        done.add(path)
        source = _read(root, path, way)
        for number, line in enumerate(source.splitlines(), start=1):
            include, place = _INCLUDE.match(line), f"{path}:{number}"
            if not include:
                put(line, place)
                continue
            part, function = include["path"], include["function"]
            part = (replace or {}).get(part, part)
            if function is None:
                add(part, (*stack, path), seen, done)
            else:
                put(f"local function {function}(KEYS, ARGV)", place)
                add(part, (*stack, path), seen | done, set())
                put("end", place)

    add(f"{name}.lua", (), frozenset(), set())
    joined = "\n".join(text) + "\n"
    return Script(
        name=name, text=joined, sha=sha1(joined.encode(), usedforsecurity=False).hexdigest(), lines=tuple(lines)
    )


def _read(root: Traversable, path: str, way: str) -> str:
    target = root
    for part in path.split("/"):
        if part in ("", ".", ".."):
            raise ConfigError(f"include path {path!r} leaves the folder of scripts: {way}")
        target = target / part
    if not target.is_file():
        raise ConfigError(f"include not found: {way}")
    return target.read_text(encoding="utf-8")


@cache
def load_script(name: str, *, virtual_clock: bool = False) -> Script:
    """The script as the server runs it, read and composed once per process.

    With `virtual_clock` the time is the caller's last ARGV instead of the server's: for replays and clock tests.
    """
    if name not in SCRIPT_NAMES:
        raise ConfigError(f"no Lua script named {name!r}: known are {', '.join(SCRIPT_NAMES)}")
    return compose(lua_root(), name, _VIRTUAL_CLOCK if virtual_clock else None)
