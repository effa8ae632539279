"""Guesses what a call will cost before it runs, and learns from what it really did cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, Literal, Protocol, get_args

from ratelimit.errors import ConfigError
from ratelimit.intake import AMOUNT_MAX
from ratelimit.web.call import ModelCall
from ratelimit.web.learned import START_RATIO, Histories, History
from ratelimit.web.usage import Usage

__all__ = ("Estimate", "Estimator", "OutputPolicy", "TokenEstimator")

OutputPolicy = Literal["learned", "max_tokens", "input_only"]
"""How output is reserved: by what finished calls produced, by the cap that the call names, or not at all."""

_DEFAULT_OUTPUT: Final = 1_024
_QUANTILE: Final = 0.95
_VERBS: Final = ("input_tokens", "output_tokens", "learn")


class TokenEstimator(Protocol):
    """Counts tokens in place of the learned ratio.

    Called on the path of every request, under asyncio on the event loop, under WSGI from many threads at once. Counts
    must be whole numbers of at least 0. What a method raises fails the request.
    """

    def input_tokens(self, call: ModelCall) -> int:
        """Tokens of the whole input: those of `call.texts()`, which can be read here only, and `call.fixed_tokens`."""

    def output_tokens(self, model: str, text_bytes: int) -> int:
        """Tokens of so many bytes of streamed output, for a response that does not say its usage."""

    def learn(self, call: ModelCall, usage: Usage) -> None:
        """A call is settled, and this is what it really used."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Tokens to reserve for a call."""

    input: int
    output: int

    @property
    def tokens(self) -> int:
        """Both together."""
        return self.input + self.output


class Estimator:
    """Estimates calls, and learns per model and subject; see `ratelimit.web.learned`. Thread-safe.

    Args:
        output: "learned": a high quantile of what finished calls produced, of this subject once it has 20 of them with
            the model, else of all subjects; "max_tokens": the call's own cap; "input_only": nothing, output is charged
            when the call is settled. Never more than the call's cap.
        tokens: counts tokens in place of the learned ratio.
        default_output: output tokens of one answer while nothing is known.
        quantile: share of answers that "learned" expects not to pass what is reserved.

    Raises:
        ConfigError: an argument that cannot be right.
    """

    def __init__(
        self,
        *,
        output: OutputPolicy = "learned",
        tokens: TokenEstimator | None = None,
        default_output: int = _DEFAULT_OUTPUT,
        quantile: float = _QUANTILE,
    ) -> None:
        if output not in get_args(OutputPolicy):
            raise ConfigError(f"output is {output!r}: must be one of {', '.join(get_args(OutputPolicy))}")
        if type(default_output) is not int or not 0 <= default_output <= AMOUNT_MAX:
            raise ConfigError(f"default_output is {default_output!r}: must be a whole number of tokens")
        if isinstance(quantile, bool) or not isinstance(quantile, int | float) or not 0.5 <= quantile <= 1:
            raise ConfigError(f"quantile is {quantile!r}: must be a number from 0.5 to 1, such as 0.95")
        lacks = () if tokens is None else [verb for verb in _VERBS if not callable(getattr(tokens, verb, None))]
        if lacks:
            raise ConfigError(f"tokens is {type(tokens).__name__}: a TokenEstimator needs {', '.join(lacks)}()")
        self._output = output
        self._tokens = tokens
        self._default_output = default_output
        self._histories = Histories(round(quantile * 1_000))
        self._lock = Lock()

    def estimate(self, call: ModelCall, subject: str) -> Estimate:
        """Tokens to reserve for a call; at least 1 of input. Releases the call's texts."""
        with self._lock:
            of_model = self._histories.of_model(call.model)
            of_subject = self._histories.of_subject(call.model, subject)
            ratio, output = _ratio(of_model, of_subject), self._output_of(call, of_model, of_subject)
        if self._tokens is None:
            entered = call.fixed_tokens + _tokens(ratio, call.text_bytes)
        else:
            entered = _counted(self._tokens.input_tokens(call), self._tokens)
        call.release()
        return Estimate(entered if 1 <= entered <= AMOUNT_MAX else min(max(entered, 1), AMOUNT_MAX), output)

    def learn(self, call: ModelCall, subject: str, usage: Usage) -> None:
        """Take in what a settled call really used. For complete usage only: a cut stream tells too little."""
        entered = usage.input + usage.cache_read + usage.cache_write - call.fixed_tokens
        cap = call.output_cap
        # Per answer, rounded up: calls with other numbers of choices shall be told by it too.
        per_answer = min(-(-usage.output // call.choices), AMOUNT_MAX)
        with self._lock:
            for history in self._histories.make(call.model, subject):
                if call.all_text and entered > 0:
                    history.ratio.learn(call.text_bytes, entered)
                if cap is None or usage.output < cap or (cap > 0 and per_answer >= self._guess(history)):
                    history.outputs.add(per_answer)
        if self._tokens is not None:
            self._tokens.learn(call, usage)

    def output_tokens(self, model: str, text_bytes: int) -> int:
        """Tokens of so many bytes of output, for a response that does not say its usage."""
        if self._tokens is not None:
            return min(_counted(self._tokens.output_tokens(model, text_bytes), self._tokens), AMOUNT_MAX)
        with self._lock:
            of_model = self._histories.of_model(model)
        return min(_tokens(_ratio(of_model, None), text_bytes), AMOUNT_MAX)

    def _output_of(self, call: ModelCall, of_model: History | None, of_subject: History | None) -> int:
        cap = call.output_cap
        if cap == 0 or self._output == "input_only":
            return 0
        guess = self._default_output * call.choices
        if self._output == "max_tokens":
            return min(guess if cap is None else cap, AMOUNT_MAX)
        for history in (of_subject, of_model):
            if history is not None and history.tells_output:
                guess = history.outputs.value * call.choices
                break
        return min(guess, AMOUNT_MAX if cap is None else cap)

    def _guess(self, history: History) -> int:
        """The least that an answer which was cut off must have to be learned from.

        How much more would have come is not known. That must not pull a guess down.
        """
        return history.outputs.value if history.tells_output else self._default_output


def _ratio(of_model: History | None, of_subject: History | None) -> float:
    """Tokens per byte: by the subject's history once it tells, else by the model's, which starts at a cautious one."""
    if of_subject is not None and of_subject.tells_ratio:
        return of_subject.ratio.per_byte
    return START_RATIO if of_model is None else of_model.ratio.per_byte


def _tokens(ratio: float, text_bytes: int) -> int:
    return math.ceil(ratio * text_bytes)


def _counted(count: Any, by: TokenEstimator) -> int:
    if type(count) is not int or count < 0:
        raise ConfigError(f"{type(by).__name__} counted {count!r} tokens: must be a whole number of at least 0")
    return count
