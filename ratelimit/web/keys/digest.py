"""What is kept in place of an API key: a BLAKE2b digest, keyed with the file's salt and the operator's secret.

A fast hash is right here, because a key is random and long: there is nothing to guess. The salt makes the digests of
one file useless against another; the secret, which is not in the file, makes them useless to whoever has the file.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from hmac import compare_digest
from typing import Final

from ratelimit.errors import ConfigError

__all__ = ("CHECK_BYTES", "DIGEST_BYTES", "VARIABLE", "KeyDigester", "secret_bytes")

CHECK_BYTES: Final = 16
DIGEST_BYTES: Final = 32
VARIABLE: Final = "RATELIMIT_KEYS_SECRET"

# BLAKE2b's own separation of purposes: what is hashed for one can never be taken for another.
_ROOT: Final = b"ratelimit.root"
_CHECK: Final = b"ratelimit.check"
_KEY: Final = b"ratelimit.key"


class KeyDigester:
    """Computes the digests of one file's keys. Holds a secret: its repr shows none, and it cannot be pickled."""

    __slots__ = ("_check", "_start")

    def __init__(self, salt: bytes, secret: bytes) -> None:
        root = blake2b(secret, key=salt, digest_size=32, person=_ROOT).digest()
        self._start = blake2b(key=root, digest_size=DIGEST_BYTES, person=_KEY)
        self._check = blake2b(key=root, digest_size=CHECK_BYTES, person=_CHECK).digest()

    def __repr__(self) -> str:
        return "<KeyDigester>"

    def __call__(self, key: str) -> bytes:
        """The digest of a key: 32 bytes."""
        digest = self._start.copy()  # half the time of starting anew
        digest.update(key.encode("utf-8", "surrogatepass"))
        return digest.digest()

    @property
    def check(self) -> bytes:
        """16 bytes that stand in the file, to tell a wrong secret from a right one."""
        return self._check

    def verify(self, check: bytes) -> None:
        """Refuse the check of another salt or secret.

        Raises:
            ConfigError: these digests are not the ones of that file, so every key would be unknown.
        """
        if not compare_digest(check, self._check):
            raise ConfigError(
                f"check: the keys were made with another secret or salt: set {VARIABLE} to the secret that they "
                "were made with, or unset it if there was none"
            )


def secret_bytes(secret: str | bytes | None) -> bytes:
    """A secret as bytes; None: that of the environment variable RATELIMIT_KEYS_SECRET, or an empty one.

    Raises:
        ConfigError: neither text nor bytes. The message does not show it.
    """
    if secret is None:
        secret = os.environ.get(VARIABLE, "")
    if isinstance(secret, str):
        return secret.encode("utf-8", "surrogateescape")
    if not isinstance(secret, bytes):
        raise ConfigError(f"secret is {type(secret).__name__}: must be text or bytes, or None for {VARIABLE}")
    return secret
