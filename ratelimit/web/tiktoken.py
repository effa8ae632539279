"""Counts input with tiktoken, for those whose models use one of its encodings. Needs the extra `tiktoken`."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from ratelimit.errors import ConfigError
from ratelimit.web.call import ModelCall
from ratelimit.web.learned import START_RATIO, TokenRatio
from ratelimit.web.usage import Usage

if TYPE_CHECKING:
    from tiktoken import Encoding

__all__ = ("TiktokenEstimator",)

_SLICE: Final = 4_096
"""Characters that are encoded at once. On one long word the encoder takes longer than in proportion to its length."""
_MODELS: Final = 256


class TiktokenEstimator:
    """A `TokenEstimator` that encodes every text of a call. Thread-safe.

    Slower than the learned ratio by far: a megabyte of text takes a tenth of a second, in which an event loop does
    nothing else. Long texts are encoded in slices, each of which may add a token.

    Args:
        encoding: for all models not named in `models`: an `Encoding`, the name of one, or a callable from the name of a
            model to an `Encoding`. tiktoken downloads a named encoding when it is first used, and keeps it in the
            directory that `TIKTOKEN_CACHE_DIR` names; that is done here, never during a request.
        models: encodings, or names of them, by the name of the model.

    Raises:
        ConfigError: tiktoken is not installed; an encoding that it does not know, or cannot download.
    """

    def __init__(
        self,
        encoding: Encoding | str | Callable[[str], Encoding] = "o200k_base",
        *,
        models: Mapping[str, Encoding | str] | None = None,
    ) -> None:
        self._models = {model: _encoding(named) for model, named in (models or {}).items()}
        if callable(encoding):
            self._default = encoding
        else:
            default = _encoding(encoding)
            self._default = lambda _: default
        self._ratios: OrderedDict[str, TokenRatio] = OrderedDict()
        self._lock = Lock()

    def input_tokens(self, call: ModelCall) -> int:
        """Tokens of every text of the call, and its fixed ones."""
        encode = self._encoding_of(call.model).encode_ordinary
        counted = 0
        for text in call.texts():
            for start in range(0, len(text), _SLICE):
                counted += len(encode(text[start : start + _SLICE]))
        with self._lock:
            self._ratio(call.model).learn(call.text_bytes, counted)
        return call.fixed_tokens + counted

    def output_tokens(self, model: str, text_bytes: int) -> int:
        """Tokens of so many bytes of output, in the ratio of the inputs counted so far: its text was not kept."""
        with self._lock:
            ratio = self._ratios.get(model)
        return math.ceil(text_bytes * (START_RATIO if ratio is None else ratio.per_byte))

    def learn(self, call: ModelCall, usage: Usage) -> None:
        """Nothing to learn: the encoding knows."""

    def _encoding_of(self, model: str) -> Encoding:
        named = self._models.get(model)
        return _encoding(self._default(model)) if named is None else named

    def _ratio(self, model: str) -> TokenRatio:
        ratio = self._ratios.get(model)
        if ratio is None:
            ratio = self._ratios[model] = TokenRatio()
            if len(self._ratios) > _MODELS:
                self._ratios.popitem(last=False)
        self._ratios.move_to_end(model)
        return ratio


def _encoding(named: Any) -> Encoding:
    try:
        import tiktoken
    except ImportError:
        raise ConfigError("counting with tiktoken needs it: pip install 'llm-ratelimit[tiktoken]'") from None
    if isinstance(named, tiktoken.Encoding):
        return named
    if not isinstance(named, str):
        raise ConfigError(f"encoding is {type(named).__name__}: must be a tiktoken Encoding, or the name of one")
    try:
        return tiktoken.get_encoding(named)
    except Exception as error:
        # An unknown name is a ValueError; what a failed download raises depends on the HTTP client and the file system.
        raise ConfigError(f"encoding {named!r} cannot be loaded by tiktoken: {error}") from error
