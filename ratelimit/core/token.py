"""A reservation as text, so that a worker elsewhere can settle it: self-contained, versioned, and sealed.

`rl1.<payload>.<seal>`, both base64url. The payload is JSON: op-id, page, and per scope its key, plan name, limits and
what the backend answered. The seal is a keyed BLAKE2b of the payload, so that with a secret nobody else can make
or change one. No subject is in it.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from hashlib import blake2b
from hmac import compare_digest

from ratelimit.core.hold import Hold
from ratelimit.core.limit import BucketSpec, Layout
from ratelimit.core.wire import WIRE_VERSION
from ratelimit.errors import ConfigError

__all__ = ("open_token", "seal_token")

_VERSION = f"rl{WIRE_VERSION}"


def seal_token(op_id: bytes, page: int, holds: Sequence[Hold], secret: bytes) -> str:
    """The reservation as text."""
    scopes = [
        [
            hold.key,
            hold.layout.name,
            [[spec.meter, spec.amount, spec.period_us, spec.burst] for spec in hold.layout.specs],
            hold.costs,
            hold.epoch,
            hold.at,
            hold.levels,
            hold.refunded,
        ]
        for hold in holds
    ]
    payload = _text(json.dumps([op_id.hex(), page, scopes], separators=(",", ":")).encode())
    return f"{_VERSION}.{payload}.{_seal(payload, secret)}"


def open_token(token: str, secret: bytes) -> tuple[bytes, int, list[Hold]]:
    """(op-id, page, holds) of a reservation made elsewhere.

    Raises:
        ConfigError: not a token, of another version, or not sealed with this secret. The token is not shown.
    """
    parts = token.split(".") if isinstance(token, str) and token.isascii() else []
    if len(parts) != 3 or parts[0] != _VERSION:
        raise ConfigError(
            f"not a reservation of version {_VERSION}: pass what Reservation.to_token() returned, unchanged"
        )
    if not compare_digest(parts[2], _seal(parts[1], secret)):
        raise ConfigError(
            "the reservation was changed, or sealed with another secret: all workers need the same secret"
        )
    try:
        op_id, page, scopes = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return bytes.fromhex(op_id), page, [_hold(*scope) for scope in scopes]
    except (ValueError, TypeError, Base64Error) as error:
        raise ConfigError(
            "the reservation's seal is right but its content is not: was it made by this library?"
        ) from error


def _hold(
    key: str,
    plan: str,
    limits: list[tuple[str, int, int, int]],
    costs: list[int],
    epoch: int,
    at: int,
    levels: list[int],
    refunded: list[int],
) -> Hold:
    specs = (
        BucketSpec.of(meter=meter, amount=amount, period_us=period, burst=burst)
        for meter, amount, period, burst in limits
    )
    hold = Hold(key, Layout(plan, tuple(specs)), costs)
    hold.epoch, hold.at, hold.levels, hold.refunded = epoch, at, levels, refunded
    return hold


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _seal(payload: str, secret: bytes) -> str:
    return _text(blake2b(payload.encode(), digest_size=16, key=secret, person=b"ratelimit.resv").digest())
