"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ratelimit.plans import Plan, PlanRegistry

__all__ = ("PlansFile", "chosen_plans")

PlansFile = Annotated[
    Path | None,
    typer.Option("--plans", metavar="FILE", help="Plans from a TOML, YAML or JSON file in place of the built-in ones."),
]


def chosen_plans(file: Path | None, names: Sequence[str] = ()) -> list[Plan]:
    """The plans of these names in the file (None: the built-in ones), each once; all of them without names.

    Raises:
        ConfigError: the file is wrong, or a plan of that name is not there.
    """
    registry = PlanRegistry() if file is None else PlanRegistry.from_file(file)
    return list(dict.fromkeys(registry.get(name) for name in names)) if names else list(registry)
