"""How much a token of each class counts: a cache read may weigh a tenth of what fresh input does."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, model_serializer, model_validator

from ratelimit.plans.strict import StrictModel

__all__ = ("TokenWeights",)

_WHOLE: Final = 1_000
_MOST: Final = 1_000 * _WHOLE


def _thousandths(value: object) -> int:
    """A weight as written, in thousandths: whole numbers, so that a cost never depends on how floats round."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number from 0 to 1000, such as 0.1")
    parts = Decimal(str(value)) * _WHOLE
    if not parts.is_finite() or parts != int(parts) or not 0 <= parts <= _MOST:
        raise ValueError("must be a number from 0 to 1000 with at most three decimals, such as 0.1")
    return int(parts)


_Weight = Annotated[int, BeforeValidator(_thousandths)]


class TokenWeights(StrictModel):
    """Weights of the token classes of a request, in thousandths; written as numbers: `TokenWeights(cache_read=0.1)`.

    A class that is not named weighs 1. They price what a plan's `tokens`, `input_tokens` and `output_tokens` count.

    Raises:
        ConfigError: path, value and rule of what is wrong.
    """

    known_keys: ClassVar[tuple[str, ...]] = ("input", "cache_read", "cache_write", "output")
    positional: ClassVar[tuple[str, ...]] = ()

    input: _Weight = _WHOLE
    """Input that no cache served."""
    cache_read: _Weight = _WHOLE
    """Input that a cache served."""
    cache_write: _Weight = _WHOLE
    """Input that was written to a cache."""
    output: _Weight = _WHOLE
    """Output, reasoning included."""

    if TYPE_CHECKING:  # the signature for callers; StrictModel.__init__ does the work

        def __init__(
            self,
            *,
            input: float = 1,  # noqa: A002 - the class of tokens is called so everywhere
            cache_read: float = 1,
            cache_write: float = 1,
            output: float = 1,
        ) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _known_only(cls, data: object) -> object:
        return data if isinstance(data, cls) else cls._known(data)

    @model_serializer
    def _written(self) -> dict[str, Any]:
        """Dump what `model_validate` reads back."""
        return {name: getattr(self, name) / _WHOLE for name in self.known_keys}

    def input_tokens(self, fresh: int, cache_read: int, cache_write: int) -> int:
        """What this input counts for, in whole tokens, rounded up."""
        return -(-(fresh * self.input + cache_read * self.cache_read + cache_write * self.cache_write) // _WHOLE)

    def output_tokens(self, output: int) -> int:
        """What this output counts for, in whole tokens, rounded up."""
        return -(-output * self.output // _WHOLE)
