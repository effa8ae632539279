"""Every module says what it offers."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

import ratelimit

PACKAGE = Path(ratelimit.__file__).parent
EXTRAS = ("ratelimit.cli", "ratelimit.__main__")
"""Programs, not libraries: they may need what is not installed."""
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith(EXTRAS)])
def test_exports_are_a_sorted_tuple_of_what_is_there(name: str) -> None:
    """Constants, classes, functions, each in order (as ruff sorts them); no name twice, each of them in the module."""
    module = import_module(name)
    exports = module.__all__
    assert type(exports) is tuple
    assert exports == tuple(sorted(set(exports), key=_place))
    assert [export for export in exports if not hasattr(module, export)] == []


def test_the_package_offers_at_most_30_names_and_hides_none() -> None:
    """What a user needs, without reading the sources."""
    public = {name for name, value in vars(ratelimit).items() if not name.startswith("_") and not _is_module(value)}
    assert public == set(ratelimit.__all__)
    assert len(ratelimit.__all__) <= 30


def test_every_error_is_offered_at_the_top() -> None:
    """Whoever calls must be able to catch by name."""
    from ratelimit import errors

    assert set(errors.__all__) <= set(ratelimit.__all__)


def _place(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def _is_module(value: object) -> bool:
    return type(value).__name__ == "module"
