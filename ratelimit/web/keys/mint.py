"""New keys, their public ids, and the salt of a new file, from the system's randomness."""

from __future__ import annotations

import secrets
from string import ascii_letters, ascii_lowercase, digits
from typing import Final

__all__ = ("KEY_PREFIX", "SALT_BYTES", "new_id", "new_key", "new_salt")

KEY_PREFIX: Final = "sk-rl-"
"""Says to people, and to scanners for leaked secrets, whose key this is."""
SALT_BYTES: Final = 32

_BASE62: Final = ascii_letters + digits
_KEY_CHARACTERS: Final = 43
"""256 bits. No `-` or `_`, so that a double click selects all of it."""
_BASE36: Final = ascii_lowercase + digits
_ID_CHARACTERS: Final = 8


def new_key() -> str:
    """An API key of 256 random bits: `sk-rl-` and 43 letters and digits."""
    return KEY_PREFIX + _random(_BASE62, _KEY_CHARACTERS)


def new_id() -> str:
    """A short public name for a key, which says nothing about it: `k_` and 8 letters and digits."""
    return "k_" + _random(_BASE36, _ID_CHARACTERS)


def new_salt() -> bytes:
    """32 random bytes."""
    return secrets.token_bytes(SALT_BYTES)


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
