"""Names of keys on the backend. No byte of a subject is in them.

=====================  ======  ===================================================  ==================================
key                    type    content                                              TTL
=====================  ======  ===================================================  ==================================
`rl1:{H}`              string  state of the scope whose subject is its own group     until every bucket has drained
`rl1:{H}S`             string  state of a scope in another subject's group           the same
either + two letters   hash    page of the operation log: op-id -> first answer      retry window and length of a page
`rl1:{H}` + op-id      hash    record of an express call: its reply                  retry window
=====================  ======  ===================================================  ==================================

H and S are keyed BLAKE2b digests (128 bits, base64url) of the group and of the subject. Everything that one decision
touches shares the hash tag {H}, so Cluster keeps it in one slot. `1` is the wire version.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import blake2b
from string import ascii_letters, digits

from ratelimit.core.wire import PAGES, WIRE_VERSION
from ratelimit.errors import ConfigError

__all__ = ("KeyMaker", "page_key", "record_key")

_ALPHABET = ascii_letters + digits + "-_"
_SUFFIXES = tuple(_ALPHABET[page // 64] + _ALPHABET[page % 64] for page in range(PAGES))
SUBJECT_MAX = 4096


class KeyMaker:
    """Turns subjects into key names. All workers that share quota need the same prefix and secret."""

    __slots__ = ("_head", "_secret")

    def __init__(self, prefix: str = "rl", secret: bytes = b"") -> None:
        if not prefix.isascii() or not prefix.isprintable() or set(prefix) & set("{} ") or len(prefix) > 64:
            raise ConfigError(
                f"prefix is {prefix!r}: must be at most 64 printable ASCII characters without braces or spaces"
            )
        if len(secret) > 64:
            raise ConfigError(f"secret has {len(secret)} bytes: BLAKE2b takes at most 64; use a random one of 32")
        self._head = f"{prefix}{WIRE_VERSION}:"
        self._secret = secret

    def __repr__(self) -> str:
        return f"<KeyMaker {self._head}>"

    def scope_key(self, subject: str, group: str | None = None) -> str:
        """The key of a subject's state, in its group's slot (default: a group of its own).

        Raises:
            ConfigError: a subject or group that is not text of 1 to 4,096 characters. The message does not show it.
        """
        if group is None or group == subject:
            return f"{self._head}{{{self._digest('subject', subject)}}}"
        return f"{self._head}{{{self._digest('group', group)}}}{self._digest('subject', subject)}"

    def _digest(self, what: str, name: str) -> str:
        if type(name) is not str or not 0 < len(name) <= SUBJECT_MAX:
            size = f"{len(name)} characters" if isinstance(name, str) else type(name).__name__
            raise ConfigError(
                f"{what} is {size}: must be a str of 1 to {SUBJECT_MAX} characters (an API key, an organisation id)"
            )
        digest = blake2b(
            name.encode("utf-8", "surrogatepass"), digest_size=16, key=self._secret, person=b"ratelimit.subj"
        )
        return urlsafe_b64encode(digest.digest())[:22].decode()


def page_key(scope_key: str, page: int) -> str:
    """The key of a page of the operation log that belongs to a decision whose first scope is `scope_key`."""
    return scope_key + _SUFFIXES[page]


def record_key(scope_key: str, op_id: bytes) -> str:
    """The key of the record of an express call, one of whose scopes is `scope_key`."""
    return scope_key[: scope_key.index("}") + 1] + op_id.hex()
