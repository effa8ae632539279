"""What settled usage teaches about the calls to come: tokens per byte, and outputs, per model and per subject.

Two levels, so that no client decides over another: a subject with a history of its own is estimated by it alone, and
what others did counts only for those who are new to a model. What all of them can do to a newcomer is bounded, because
a ratio stays within what tokenizers really give, and a call that was stopped by its own cap teaches nothing lower.

Everything is in the memory of this process, of bounded size, and gone with it. Subjects are kept as digests under a key
that is made anew in every process.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from hashlib import blake2b
from typing import Final

from ratelimit.quantile import RecentQuantile

__all__ = ("SAMPLES_MIN", "START_RATIO", "Histories", "History", "TokenRatio")

SAMPLES_MIN: Final = 20
"""Calls before their outputs are trusted: of fewer, the highest 5 % is not even one."""
START_RATIO: Final = 0.3
"""Tokens per byte before anything is known. English takes about 0.23, code and JSON about 0.3."""

_RATIO_LEAST: Final = 1 / 16
_RATIO_MOST: Final = 1.0
_START_WEIGHT: Final = 2
"""The start counts as so many calls."""
_REMEMBERED: Final = 32
"""Calls over which a ratio forgets: the weight of one never falls below a 32nd."""
_FULL_WEIGHT_BYTES: Final = 1_024
"""A call with fewer bytes weighs less: what surrounds its text distorts the ratio."""

_MODELS: Final = 256
_MODEL_OUTPUTS: Final = 1_000
_SUBJECTS: Final = 4_096
_SUBJECT_OUTPUTS: Final = 256


class TokenRatio:
    """Tokens per byte of text, as a mean with forgetting, plus its mean deviation: rather a little high than low."""

    __slots__ = ("_deviation", "_mean", "_weight", "samples")

    def __init__(self) -> None:
        self._mean = START_RATIO
        self._deviation = 0.0
        self._weight = float(_START_WEIGHT)
        self.samples = 0

    @property
    def per_byte(self) -> float:
        """Tokens to reckon with for a byte; from 1/16 to 1."""
        return min(self._mean + self._deviation, _RATIO_MOST)

    def learn(self, text_bytes: int, tokens: int) -> None:
        """So many bytes were so many tokens."""
        if text_bytes <= 0:
            return
        ratio = tokens / text_bytes
        if not _RATIO_LEAST <= ratio <= _RATIO_MOST:
            ratio = min(max(ratio, _RATIO_LEAST), _RATIO_MOST)
        share = 1.0 if text_bytes >= _FULL_WEIGHT_BYTES else text_bytes / _FULL_WEIGHT_BYTES
        if self._weight < _REMEMBERED:
            self._weight = min(self._weight + share, _REMEMBERED)
        step = share / self._weight
        off = ratio - self._mean
        self._deviation += step * (abs(off) - self._deviation)
        self._mean += step * off
        self.samples += 1


class History:
    """Of one model, or of one subject's calls of it."""

    __slots__ = ("outputs", "ratio")

    def __init__(self, size: int, permille: int) -> None:
        self.outputs = RecentQuantile(size, permille)
        self.ratio = TokenRatio()

    @property
    def tells_output(self) -> bool:
        """There are enough outputs to go by."""
        return len(self.outputs) >= SAMPLES_MIN

    @property
    def tells_ratio(self) -> bool:
        """There are enough ratios to go by."""
        return self.ratio.samples >= SAMPLES_MIN


class Histories:
    """The histories of up to 256 models, and of up to 4,096 subjects under one model each; the least used make room.

    At most 4 MB for models and 17 MB for subjects. Only what is learned from makes an entry. Not thread-safe.
    """

    def __init__(self, permille: int) -> None:
        self._permille = permille
        self._key = os.urandom(32)
        self._models: OrderedDict[str, History] = OrderedDict()
        self._subjects: OrderedDict[tuple[str, bytes], History] = OrderedDict()

    def of_model(self, model: str) -> History | None:
        """The history of a model, None if it has none."""
        history = self._models.get(model)
        if history is not None:
            self._models.move_to_end(model)
        return history

    def of_subject(self, model: str, subject: str) -> History | None:
        """The history of a subject's calls of a model, None if there were none."""
        name = (model, self._digest(subject))
        history = self._subjects.get(name)
        if history is not None:
            self._subjects.move_to_end(name)
        return history

    def make(self, model: str, subject: str) -> tuple[History, History]:
        """The histories that a call of this model by this subject belongs to: the model's and the subject's."""
        of_model = self.of_model(model)
        if of_model is None:
            of_model = self._models[model] = History(_MODEL_OUTPUTS, self._permille)
            if len(self._models) > _MODELS:
                self._models.popitem(last=False)
        of_subject = self.of_subject(model, subject)
        if of_subject is None:
            of_subject = self._subjects[model, self._digest(subject)] = History(_SUBJECT_OUTPUTS, self._permille)
            if len(self._subjects) > _SUBJECTS:
                self._subjects.popitem(last=False)
        return of_model, of_subject

    def _digest(self, subject: str) -> bytes:
        return blake2b(subject.encode("utf-8", "surrogatepass"), digest_size=16, key=self._key).digest()
