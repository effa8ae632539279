"""What the mock says, and how it counts: a token is four bytes, and every word of an answer is exactly one token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

__all__ = ("TOKENS_MAX", "Reply", "count", "reply", "seed_of")

TOKENS_MAX: Final = 1_000_000
"""Longest answer that may be asked for, in tokens."""

_BYTES_PER_TOKEN: Final = 4
_LEAST, _SPREAD = 16, 113
# Words of three letters: with the space behind it, or a full stop in its place, each is one token.
_WORDS: Final = (
    "air all and any arm art ash bay big bud can cup dew dot dry ear egg elm end eye far few fig fir fog for fox gem "
    "hay hot hum ice ink ivy jar joy key lap log low map may new nod now oak oat off old one our own owl pen ray red "
    "run sea shy six sky sun tea the "
)
_STEP: Final = 6_364_136_223_846_793_005
_OFFSET: Final = 1_442_695_040_888_963_407
_MASK: Final = (1 << 64) - 1


def count(text: str) -> int:
    """Tokens of a text: one per four bytes of UTF-8, the last one may be shorter."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)


def seed_of(*parts: bytes) -> int:
    """A number that depends on every byte of a request that matters."""
    return int.from_bytes(blake2b(b"\0".join(parts), digest_size=8).digest())


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: so many `tokens`, the same ones for the same `seed`. `cut` if it was to be longer."""

    seed: int
    tokens: int
    cut: bool

    def pieces(self) -> Iterator[str]:
        """The answer token by token."""
        state = self.seed
        for left in range(self.tokens, 0, -1):
            state = (state * _STEP + _OFFSET) & _MASK
            start = (state >> 58) * _BYTES_PER_TOKEN
            word = _WORDS[start : start + _BYTES_PER_TOKEN]
            yield word if left > 1 else word.rstrip() + "."

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.pieces())


def reply(seed: int, most: int | None = None, wanted: int | None = None) -> Reply:
    """The answer to a request: as long as its seed says, or as `wanted`, and at most `most` tokens."""
    natural = _LEAST + seed % _SPREAD if wanted is None else wanted
    return Reply(seed, natural if most is None else min(natural, most), most is not None and most < natural)
