"""The `RateLimit` and `RateLimit-Policy` fields of draft-ietf-httpapi-ratelimit-headers (-10 and -11).

Both are Lists of structured fields (RFC 9651) whose items are Strings: the names of policies. There is no registered
unit for tokens, and none for a burst, so those carry a vendor's prefix, as the draft asks.

* `q` is the amount of a limit and `w` its period. `w` counts whole seconds: of another period it is left out, and the
  name alone tells it.
* `r` is what fits now and `t` the whole seconds, rounded up, until more does; there is none while nothing is used.
* When a request was refused, `RateLimit` names only the limits that refused it, so that `Retry-After` never points
  earlier than a `t` beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from heapq import nsmallest
from re import compile as pattern
from typing import Final
from urllib.parse import quote

from ratelimit.core.decision import Standing
from ratelimit.web.answer import Headers
from ratelimit.web.dialects.base import is_tighter
from ratelimit.web.durations import period_text

__all__ = ("ietf_headers",)

_INTEGER_MAX: Final = 10**15 - 1
"""Structured fields have integers of up to 15 digits."""
_NAMED_MAX: Final = 8
"""Most policies in a response. With names of bounded length this keeps each field below 4 KiB, whatever the plans."""
_NAME_MAX: Final = 64
_PRINTABLE: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_BROKEN_ESCAPE: Final = pattern(r"%[0-9A-F]?$")


def ietf_headers(standings: Sequence[Standing]) -> Headers:
    """The two fields for these standings, or none when there are none.

    Limits of one name (the same plan for a key and its organisation) are shown once, as the most restrictive of them;
    of more than eight, the eight with the least left.
    """
    shown: dict[bytes, Standing] = {}
    for standing in standings:
        name = _name(standing.plan, standing.meter, standing.period)
        other = shown.setdefault(name, standing)
        if other is not standing and is_tighter(standing, other):
            shown[name] = standing
    if not shown:
        return []
    if len(shown) > _NAMED_MAX:
        shown = dict(nsmallest(_NAMED_MAX, shown.items(), key=_rank))
    refused = any(standing.retry_after_us for standing in shown.values())
    limits = [name + _quota(standing) for name, standing in shown.items() if standing.retry_after_us or not refused]
    policies = [
        name + _policy(standing.meter, standing.amount, standing.period, standing.burst)
        for name, standing in shown.items()
    ]
    return [(b"ratelimit", b", ".join(limits)), (b"ratelimit-policy", b", ".join(policies))]


def _rank(item: tuple[bytes, Standing]) -> tuple[int, float]:
    """Refusing limits first, the longest wait before all; then the least left as a share of the burst."""
    standing = item[1]
    return -standing.retry_after_us, standing.remaining / standing.burst


def _quota(standing: Standing) -> bytes:
    left = b";r=%d" % _integer(standing.remaining)
    if not standing.reset_after_us:
        return left
    # One more fits when only burst - remaining - 1 are still used; the bucket drains evenly, so that long before empty.
    unused_us = (standing.burst - standing.remaining - 1) * round(standing.period * 1e6)
    wait = -((unused_us - standing.reset_after_us * standing.amount) // (standing.amount * 1_000_000))
    return left + b";t=%d" % _integer(wait)


@lru_cache(maxsize=1_024)
def _policy(meter: str, amount: int, period: float, burst: int) -> bytes:
    """The parameters of a policy. Nothing here depends on the state, so it is written once per limit."""
    parts = [b";q=%d" % _integer(amount)]
    seconds, rest = divmod(round(period * 1e6), 1_000_000)
    if not rest and seconds:
        parts.append(b";w=%d" % _integer(seconds))
    if meter != "requests":
        parts.append(b";qu=" + _string("llm-" + _label(meter)))
    if burst != amount:
        parts.append(b";llm-burst=%d" % _integer(burst))
    return b"".join(parts)


@lru_cache(maxsize=1_024)
def _name(plan: str, meter: str, period: float) -> bytes:
    return _string(f"{_label(plan)} {_label(meter)} per {period_text(period)}")


def _label(text: str) -> str:
    """A text within 0x20 to 0x7E: what lies outside, and %, is percent-encoded, so that no two texts become one."""
    return _BROKEN_ESCAPE.sub("", quote(text, safe=_PRINTABLE, errors="surrogatepass")[:_NAME_MAX])


def _string(text: str) -> bytes:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'.encode("ascii")


def _integer(value: int) -> int:
    return min(max(value, 0), _INTEGER_MAX)
