"""The plans of the API that this project serves."""

from __future__ import annotations

from typing import Final

from ratelimit.plans.models import Plan

__all__ = ("BUILTIN_PLANS",)

BUILTIN_PLANS: Final = (
    Plan("Lite", rpm=10, tpm=60_000),
    Plan("Pro", rpm=60, tpm=600_000),
    Plan("MAX 5X", rpm=300, tpm=3_000_000),
    Plan("MAX 20X", rpm=1_200, tpm=12_000_000),
)
