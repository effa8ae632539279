"""From pydantic's account of what is wrong to ours: `where = value: rule`, as a ConfigError.

Callers of this package never see a pydantic ValidationError: its text repeats whole inputs, names internal types and
spans many lines, and our promise is one error type that names path, value and rule.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from reprlib import Repr
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from ratelimit.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = (
    "as_config_error",
    "fault",
    "path_text",
    "short",
)

_SHORT_MAX: Final = 80
_FAULTS_MAX: Final = 5
_INT_BITS_MAX: Final = 200
_FAULT: Final = "ratelimit_fault"
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

# Rules of pydantic's that we word ourselves, because its own wording speaks of types and inputs.
_RULES: Final = {"missing": "is required", "extra_forbidden": "unknown key"}


class _ShortRepr(Repr):
    """A repr whose *work* is bounded, not only its result: YAML aliases can unfold to billions of items."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 2
        self.maxstring = self.maxother = self.maxlong = _SHORT_MAX

    def repr_int(self, x: int, level: int) -> str:  # noqa: ARG002 - the signature of reprlib
        # Python refuses to print an int of more than 4,300 digits, and a file can hold one in hexadecimal.
        return repr(x) if x.bit_length() <= _INT_BITS_MAX else f"<integer of {x.bit_length()} bits>"


_SHORT: Final = _ShortRepr()


def short(value: object) -> str:
    """Return a repr of at most 80 characters, whatever the value."""
    text = _SHORT.repr(value)
    return text if len(text) <= _SHORT_MAX else f"{text[: _SHORT_MAX - 1]}…"


def path_text(root: str, *steps: object) -> str:
    """Write a place inside a document: `plans.Pro.limits[0].amount`, with keys quoted where they need it."""
    text = root
    for step in steps:
        if type(step) is int:
            text += f"[{step}]"
            continue
        bare = isinstance(step, str) and _BARE_KEY.fullmatch(step)
        key = str(step) if bare else json.dumps(step[:_SHORT_MAX]) if isinstance(step, str) else short(step)
        text += f".{key}" if text else key
    return text


def fault(at: object, value: object, rule: str) -> PydanticCustomError:
    """Return an error for a model validator to raise: `value` under key `at` (None: the model itself) breaks `rule`."""
    # pydantic prints what stands in the context, and fails on an int too large to print: it gets text.
    return PydanticCustomError(_FAULT, "{rule}", {"at": at, "shown": short(value), "rule": rule})


@contextmanager
def as_config_error(root: str) -> Iterator[None]:
    """Turn a ValidationError of the block into a ConfigError that names paths from `root`."""
    try:
        yield
    except ValidationError as error:
        # "default_factory_not_called" only says that a burst could not follow an amount that is itself reported.
        details = [
            detail for detail in error.errors(include_url=False) if detail["type"] != "default_factory_not_called"
        ]
        lines = [_line(root, detail) for detail in details[:_FAULTS_MAX]]
        if len(details) > _FAULTS_MAX:
            lines.append(f"and {len(details) - _FAULTS_MAX} more")
        raise ConfigError("; ".join(lines)) from None


def _line(root: str, detail: ErrorDetails) -> str:
    kind, where, context = detail["type"], path_text(root, *detail["loc"]), detail.get("ctx", {})
    if kind == _FAULT:
        where = where if context["at"] is None else path_text(where, context["at"])
        return f"{where} = {context['shown']}: {context['rule']}"
    if kind == "missing":
        # The input of a missing key is the whole table around it, which helps nobody.
        return f"{where}: {_RULES[kind]}"
    # A ValueError raised by a validator: pydantic prefixes its text, the error itself has it clean.
    rule = context["error"] if kind == "value_error" else _RULES.get(kind, detail["msg"])
    return f"{where} = {short(detail['input'])}: {rule}"
