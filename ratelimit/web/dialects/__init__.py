"""The dialects that answers are written in, by name.

* `base`: what a dialect is, and what both share. `openai` and `anthropic`: one each.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ratelimit.web.dialects.anthropic import Anthropic
from ratelimit.web.dialects.base import Dialect, Shortage
from ratelimit.web.dialects.openai import OpenAI
from ratelimit.web.routes import DialectName

__all__ = ("DIALECTS", "Anthropic", "Dialect", "OpenAI", "Shortage")

DIALECTS: Final[Mapping[DialectName, Dialect]] = MappingProxyType({"openai": OpenAI(), "anthropic": Anthropic()})
"""The dialects of the routes."""
