"""Plans from a file. Every error names the file, the place inside it, the value and the rule.

A file holds one table `plans`, from a plan's name to its body, or a list `plans` of bodies with a `name`:

    [plans.Pro]
    rpm = 60
    tpm = "600000/minute"

    [[plans.Pro.limits]]
    meter = "requests"
    rate = "5000/day"
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ratelimit.errors import ConfigError
from ratelimit.plans.faults import path_text, short
from ratelimit.plans.formats import PARSERS
from ratelimit.plans.models import Plan

__all__ = (
    "FILE_MAX_BYTES",
    "load_plans",
)

FILE_MAX_BYTES: Final = 1024 * 1024
_SHAPE: Final = "must be a table from names to plans, or a list of plans with names"


def load_plans(path: str | os.PathLike[str]) -> tuple[Plan, ...]:
    """Return the plans of a .toml, .yaml, .yml or .json file, in its order.

    Raises:
        ConfigError: the file is missing, unreadable, too large, of an unknown kind, or wrong in form or content.
    """
    file = Path(path)
    parse = PARSERS.get(file.suffix.lower())
    if parse is None:
        raise ConfigError(f"{file}: suffix {short(file.suffix)}: must be one of {', '.join(PARSERS)}")
    text = _read(file)
    try:
        return tuple(_plans(parse(text)))
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            raw = stream.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a path with a null character
        raise ConfigError(f"{str(file)!r}: cannot be read: {error}") from None
    if len(raw) > FILE_MAX_BYTES:
        raise ConfigError(f"{file}: larger than {FILE_MAX_BYTES} bytes: a plan file must be at most 1 MiB")
    try:
        return raw.decode("utf-8-sig")  # editors on Windows begin files with a byte order mark
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}: line {line}: byte {raw[error.start]:#04x}: must be UTF-8 text") from None


def _plans(document: object) -> Iterator[Plan]:
    if not isinstance(document, dict) or "plans" not in document:
        raise ConfigError(f"plans: is required at the top: {_SHAPE}")
    for key, value in document.items():
        if key != "plans":
            raise ConfigError(f"{path_text('', key)} = {short(value)}: unknown key; the only one at the top is plans")
    plans = document["plans"]
    if not isinstance(plans, dict | list):
        raise ConfigError(f"plans = {short(plans)}: {_SHAPE}")
    if not plans:
        raise ConfigError(f"plans = {short(plans)}: holds no plan; name at least one")
    if isinstance(plans, list):
        for index, body in enumerate(plans):
            yield Plan.build(body, at=path_text("plans", index))
        return
    for name, body in plans.items():
        yield _named(name, body)


def _named(name: object, body: object) -> Plan:
    if not isinstance(name, str):  # YAML reads 5 and on as other things than names
        raise ConfigError(f"plans: key {short(name)}: must be text; put it in quotes")
    at = path_text("plans", name)
    if not isinstance(body, dict):
        raise ConfigError(f"{at} = {short(body)}: must be a table with rpm, tpm or limits")
    if "name" in body:
        raise ConfigError(f"{at}.name = {short(body['name'])}: the key of the table is the name; leave it out")
    return Plan.build({"name": name, **body}, at=at)
