"""Promises of the package `ratelimit.plans` as a whole."""

from __future__ import annotations

import pytest

from ratelimit import plans
from ratelimit.plans import builtin, faults, formats, models, names, notation, registry, sources, strict


@pytest.mark.parametrize(
    "module",
    [plans, builtin, faults, formats, models, names, notation, registry, sources, strict],
    ids=lambda m: m.__name__,
)
def test_exports_are_sorted_and_there(module: object) -> None:
    """Every module names what it offers, sorted, and has it."""
    exports = module.__all__  # type: ignore[attr-defined]
    assert tuple(sorted(exports)) == exports
    assert all(hasattr(module, name) for name in exports)
