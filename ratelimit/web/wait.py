"""How long a refused client is told to wait: exact, spread out a little, and in the form that its SDK obeys."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

from ratelimit.errors import ConfigError
from ratelimit.web.answer import Headers

__all__ = ("THRESHOLD_S", "Wait")

THRESHOLD_S: Final = 60.0
"""The longest wait that every SDK obeys: of a longer one, old ones come back at once, others sleep for hours."""
_SPREAD_DIVISOR: Final = 10
"""The most that is added is a tenth."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The wait of one refusal.

    `retry_after_us` is exact: refused before it, admitted at it when nothing else happens. SDKs add no jitter to a
    wait that they are given, so clients refused together would come back together: `spread`, 0 to 1 and drawn anew
    for each refusal (`random.random()`), says how much of the most jitter (10 %) is added. Above `threshold_s`
    seconds the client is told not to retry by itself.

    Raises:
        ConfigError: a wait or a threshold that is negative, or a spread outside 0 to 1.
    """

    retry_after_us: int
    spread: float = 0.0
    threshold_s: float = THRESHOLD_S

    def __post_init__(self) -> None:
        if self.retry_after_us < 0:
            raise ConfigError(f"retry_after_us is {self.retry_after_us}: a wait is 0 or more microseconds")
        if not 0 <= self.spread <= 1:
            raise ConfigError(f"spread is {self.spread}: must be a number from 0 to 1, such as random.random() gives")
        if not 0 <= self.threshold_s < inf:
            raise ConfigError(f"threshold_s is {self.threshold_s}: must be a finite number of seconds, 0 or more")

    @property
    def is_long(self) -> bool:
        """True when the exact wait is above the threshold."""
        return self.retry_after_us > self.threshold_s * 1e6

    @property
    def told_us(self) -> int:
        """The wait that the client is told: the exact one plus jitter, never less.

        Jitter does not lift a wait over the threshold: an SDK that ignores what is longer than 60 s would take a
        wait of 58 s, spread to 61, for none at all.
        """
        told = self.retry_after_us + int(self.retry_after_us * self.spread) // _SPREAD_DIVISOR
        return told if self.is_long else min(told, int(self.threshold_s * 1e6))

    def headers(self) -> Headers:
        """`retry-after` in whole seconds, `retry-after-ms`, both rounded up and 1 or more; maybe `x-should-retry`.

        SDKs read the milliseconds first. Never 0, which sends some of them back at once, and never a date, whose
        fraction of a second they lose (both measured; HTTP knows only `retry-after`, RFC 9110, 10.2.3).
        """
        ms = max(1, -(-self.told_us // 1_000))
        headers = [(b"retry-after", b"%d" % -(-ms // 1_000)), (b"retry-after-ms", b"%d" % ms)]
        if self.is_long:
            headers.append((b"x-should-retry", b"false"))
        return headers
