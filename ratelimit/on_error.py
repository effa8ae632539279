"""Which amounts leaving a block settles to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ratelimit.core.hold import Hold
from ratelimit.errors import ConfigError

__all__ = ("OnError", "amounts_after_error", "check_on_error")

OnError = Literal["refund_tokens", "refund", "keep"]
"""What an exception in the block does: give back all but the request, give back everything, keep the estimate."""

_CHOICES = ("refund_tokens", "refund", "keep")


def check_on_error(on_error: object) -> None:
    """Refuse anything but the three choices.

    Raises:
        ConfigError: naming the choices.
    """
    if on_error not in _CHOICES:
        raise ConfigError(f"on_error is {on_error!r}: must be one of {', '.join(_CHOICES)}")


def amounts_after_error(holds: Sequence[Hold], on_error: OnError) -> dict[str, int]:
    """What a block left by an exception settles to; meters that are not named stay at the estimate."""
    if on_error == "keep":
        return {}
    meters = {meter for hold in holds for meter in hold.layout.meters}
    return {meter: 0 for meter in meters if on_error == "refund" or meter != "requests"}
