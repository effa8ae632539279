"""Promises of `ratelimit.core.token`."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest

from ratelimit.core import token as module
from ratelimit.core.token import open_token, seal_token
from ratelimit.errors import ConfigError
from tests.core.holds import MINUTE, TAG, answered, layout

OP = bytes(range(8))
SECRET = b"secret"


def sealed() -> str:
    """A token of two scopes."""
    first = answered([1_000_000, 500], [2_000_000, 700], refunded=[0, 200], at=2**50, epoch=2**32 - 1)
    other = answered([60_000], [2**52], of=layout(("tokens", 100_000_007, MINUTE), name="Q \u00e9"), key=TAG + "B" * 22)
    return seal_token(OP, 4095, [first, other], SECRET)


def test_a_token_opens_to_what_was_sealed() -> None:
    """Everything a settle needs, for every scope."""
    op_id, page, holds = open_token(sealed(), SECRET)
    assert (op_id, page) == (OP, 4095)
    assert [(hold.key, hold.layout.name, hold.costs) for hold in holds] == [
        (TAG, "P", [1_000_000, 500]),
        (TAG + "B" * 22, "Q \u00e9", [60_000]),
    ]
    assert [(hold.epoch, hold.at, hold.levels, hold.refunded) for hold in holds] == [
        (2**32 - 1, 2**50, [2_000_000, 700], [0, 200]),
        (7, 1_000, [2**52], [0]),
    ]
    assert holds[0].layout.specs == answered([0, 0], [0, 0]).layout.specs


def test_a_token_is_safe_in_a_url_or_header() -> None:
    """Letters, digits, `-`, `_` and dots."""
    assert set(sealed()) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_a_changed_token_does_not_open() -> None:
    """Whichever character it is."""
    token = sealed()
    for i in range(len("rl1."), len(token)):
        changed = token[:i] + ("A" if token[i] != "A" else "B") + token[i + 1 :]
        with pytest.raises(ConfigError):
            open_token(changed, SECRET)


@pytest.mark.parametrize("secret", [b"", b"secre", b"secret2"])
def test_another_secret_does_not_open_it(secret: bytes) -> None:
    """The message says what to do and shows nothing of the token."""
    token = sealed()
    with pytest.raises(ConfigError, match=r"all workers need the same secret$") as caught:
        open_token(token, secret)
    assert token.split(".")[1][:20] not in str(caught.value)


@pytest.mark.parametrize("token", ["", "rl1", "rl1.a", "rl1.a.b.c", "rl2.a.b", "é.a.b", None, 7, b"rl1.a.b"])
def test_what_is_no_token_of_this_version_is_refused(token: object) -> None:
    """By its shape, before anything is decoded."""
    with pytest.raises(ConfigError, match=r"^not a reservation of version rl1: "):
        open_token(token, SECRET)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no json",
        b"[]",
        b'["00",1]',
        b'["zz",1,[]]',
        b"[7,1,[]]",
        b'["00",1,[["key"]]]',
        b'["00",1,[["key","P",[["tokens",-1,60000000,1]],[1],0,0,[0],[0]]]]',
    ],
)
def test_a_right_seal_on_wrong_content_is_refused(content: bytes) -> None:
    """What another program sealed with our secret is an error, not a crash."""
    payload = urlsafe_b64encode(content).decode().rstrip("=")
    with pytest.raises(ConfigError, match=r"^the reservation's seal is right but its content is not"):
        open_token(f"rl1.{payload}.{module._seal(payload, SECRET)}", SECRET)
