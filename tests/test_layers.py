"""Which part may import which: the table is the architecture."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ratelimit

PACKAGE = Path(ratelimit.__file__).parent
STDLIB = frozenset(sys.stdlib_module_names)

# The longest prefix of a module's name decides. Besides what is listed: its own part, and the stdlib.
ALLOWED: dict[str, tuple[str, ...]] = {
    "ratelimit.errors": ("ratelimit.core.decision",),  # for types only
    "ratelimit.clock": (),
    "ratelimit.core": ("ratelimit.errors",),
    "ratelimit.plans": ("ratelimit.core.limit", "ratelimit.errors", "pydantic", "pydantic_core", "limits", "yaml"),
    "ratelimit.backends.base": ("ratelimit.core", "ratelimit.errors"),
    "ratelimit.backends.scripts": ("ratelimit.errors",),
    "ratelimit.backends.calls": ("ratelimit.core", "ratelimit.errors", "ratelimit.clock"),
    "ratelimit.backends.memory": ("ratelimit.core", "ratelimit.errors", "ratelimit.clock"),
    "ratelimit.backends": ("ratelimit.core", "ratelimit.errors", "ratelimit.clock", "redis", "hiredis"),
    "ratelimit.testing": ("ratelimit.errors",),
    "ratelimit.web": ("ratelimit", "orjson"),
    "ratelimit.web.coding": ("ratelimit.web", "brotli", "brotlicffi", "zstandard"),
    "ratelimit.web.tiktoken": ("ratelimit", "tiktoken"),
    "ratelimit.web.keys.models": ("ratelimit", "pydantic"),
    "ratelimit.web.keys.store": ("ratelimit", "filelock"),
    "ratelimit.web.keys.writing": ("ratelimit", "tomli_w"),
    "ratelimit.gateway": ("ratelimit", "orjson", "starlette", "aiohttp", "uvicorn", "multidict", "yarl", "pydantic"),
    "ratelimit.cli": ("ratelimit", "typer", "rich"),
    "ratelimit.__main__": ("ratelimit.cli",),
    # The faces take redis-py's clients by name; everything else about Redis is the backends'.
    "ratelimit.limiter": ("ratelimit", "redis"),
    "ratelimit.aio": ("ratelimit", "redis"),
    "ratelimit": ("ratelimit",),
}
# Nothing below may know what stands on it.
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "ratelimit.replay": ("ratelimit.cli", "redis"),
    "ratelimit.limiter": ("ratelimit.cli", "ratelimit.replay", "ratelimit.testing", "ratelimit.aio"),
    "ratelimit.aio": ("ratelimit.cli", "ratelimit.replay", "ratelimit.testing", "ratelimit.limiter"),
    "ratelimit.intake": ("ratelimit.cli", "ratelimit.replay", "redis"),
    "ratelimit.waiting": ("ratelimit.backends", "ratelimit.plans"),
    "ratelimit.web": ("ratelimit.gateway", "ratelimit.cli", "ratelimit.replay", "ratelimit.testing", "redis"),
    "ratelimit.gateway": ("ratelimit.cli", "ratelimit.replay", "ratelimit.testing", "redis"),
}
PURE = ("asyncio", "threading", "socket", "time", "random", "os", "secrets", "datetime", "pathlib", "logging")
"""What `core` must not need: time, randomness and I/O are arguments."""


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _imports(path: Path) -> Iterator[str]:
    """Every module that is imported anywhere in a file, also within functions and for types only."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            # `from ratelimit import plans` imports a module, `from ratelimit.errors import X` a name of one.
            yield from (
                {f"{node.module}.{a.name}" if f"{node.module}.{a.name}" in MODULES else node.module for a in node.names}
            )


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def _rule(name: str, table: dict[str, tuple[str, ...]]) -> tuple[str, tuple[str, ...]]:
    rules = [prefix for prefix in table if _within(name, prefix)]
    return max(((prefix, table[prefix]) for prefix in rules), key=lambda rule: len(rule[0]), default=("", ()))


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_its_layer_may(name: str) -> None:
    """Its own part, the stdlib, and what the table lists."""
    part, allowed = _rule(name, ALLOWED)
    part = part if part.count(".") == 1 or part == "ratelimit" else part.rpartition(".")[0]
    foreign = {
        module
        for module in _imports(MODULES[name])
        if module.split(".")[0] not in STDLIB and not any(_within(module, prefix) for prefix in (part, *allowed))
    }
    assert foreign == set()


@pytest.mark.parametrize("name", [name for name in MODULES if _rule(name, FORBIDDEN)[0]])
def test_a_module_does_not_know_what_stands_on_it(name: str) -> None:
    """No way back up."""
    forbidden = _rule(name, FORBIDDEN)[1]
    assert {
        module for module in _imports(MODULES[name]) if any(_within(module, prefix) for prefix in forbidden)
    } == set()


@pytest.mark.parametrize("name", [name for name in MODULES if _within(name, "ratelimit.core")])
def test_the_core_is_pure(name: str) -> None:
    """No clock, no randomness, no I/O, no event loop."""
    assert {module.split(".")[0] for module in _imports(MODULES[name])} & set(PURE) == set()


@pytest.mark.parametrize("name", ["exchange", "body", "call", "meter", "sse", "tariff", "dialects.openai", "ietf"])
def test_what_an_exchange_is_made_of_does_no_io(name: str) -> None:
    """ASGI and WSGI only drive it: what it does can be tested, and trusted, without a server."""
    io = (
        "asyncio",
        "threading",
        "socket",
        "time",
        "pathlib",
        "ratelimit.aio",
        "ratelimit.limiter",
        "ratelimit.backends",
    )
    assert {m for m in _imports(MODULES[f"ratelimit.web.{name}"]) if any(_within(m, part) for part in io)} == set()


def test_only_backends_and_faces_know_redis() -> None:
    """So that the arithmetic can be trusted, and replaced, without it."""
    knowing = {name for name, path in MODULES.items() if any(_within(module, "redis") for module in _imports(path))}
    assert {name for name in knowing if not _within(name, "ratelimit.backends")} <= {
        "ratelimit.limiter",
        "ratelimit.aio",
    }
    assert {"ratelimit.backends.memory", "ratelimit.backends.calls", "ratelimit.backends.scripts"} & knowing == set()
