"""Which SDKs are tested: of each the newest, and the last before the change of its HTTP library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ("ANTHROPIC", "OPENAI", "VERSIONS", "Version")


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an SDK."""

    name: Literal["openai", "anthropic"]
    number: str

    def __str__(self) -> str:
        return f"{self.name}-{self.number}"


OPENAI = (Version("openai", "2.30.0"), Version("openai", "3.57.0"))
ANTHROPIC = (Version("anthropic", "0.86.0"), Version("anthropic", "2.13.0"))
VERSIONS = OPENAI + ANTHROPIC
