"""When two spellings name the same plan."""

from __future__ import annotations

import re
from typing import Final

__all__ = ("fold",)

_SEPARATORS: Final = re.compile(r"[-_ ]+")


def fold(name: str) -> str:
    """Return what all spellings of a name share: "MAX 5X", "max-5x" and "Max__5x " all give "max-5x"."""
    return _SEPARATORS.sub("-", name.casefold()).strip("-")
