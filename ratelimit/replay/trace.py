"""Traces of LLM traffic: when each request arrived, and how many tokens went in and came out.

=========  =================================================================================  ======================
form       one request                                                                        known from
=========  =================================================================================  ======================
CSV        `TIMESTAMP` (ISO date and time), `ContextTokens`, `GeneratedTokens`, by the header  Azure's public traces
JSON lines `timestamp` (milliseconds), `input_length`, `output_length`; other keys are ignored  Mooncake's traces
=========  =================================================================================  ======================

The content decides which it is, and whether it is gzipped; the file's name does not matter.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Final, TextIO

from ratelimit.errors import ConfigError
from ratelimit.plans.faults import short

__all__ = ("TOKENS_MAX", "Request", "read_trace")

TOKENS_MAX: Final = 10**8
"""Most tokens of one side of one request: a larger number is a mistake in the file, not a request."""

_COLUMNS: Final = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_FIELDS: Final = ("timestamp", "input_length", "output_length")
_FORMS: Final = f"must be CSV with the columns {', '.join(_COLUMNS)}, or JSON lines with the keys {', '.join(_FIELDS)}"
_COUNT_RULE: Final = f"must be a whole number from 0 to {TOKENS_MAX:,}"
_TIMESTAMP_MAX_MS: Final = 2.0**52 / 1000
_SPAN_MAX_US: Final = 366 * 86_400 * 1_000_000
_GZIP_MAGIC: Final = b"\x1f\x8b"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a trace: `at_us` is its arrival in microseconds after the first one."""

    at_us: int
    input_tokens: int
    output_tokens: int

    @property
    def tokens(self) -> int:
        """Input and output tokens together: what the request really costs."""
        return self.input_tokens + self.output_tokens


def read_trace(path: str | os.PathLike[str]) -> list[Request]:
    """Return the requests of a trace in order of arrival, the first one at 0.

    Raises:
        ConfigError: the file cannot be read, or a value in it is wrong: names the file, the line, the value, the rule.
    """
    try:
        file = Path(path)
        with _open(file) as lines:
            read = list(_parse(lines))
    except ConfigError as error:
        raise ConfigError(f"{os.fspath(path)}: {error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{os.fspath(path)}: not UTF-8 text: {_FORMS}") from None
    except (OSError, EOFError, zlib.error, ValueError) as error:  # ValueError: a path with a null character
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigError(f"{os.fspath(path)!r}: cannot be read: {reason}") from None
    if not read:
        raise ConfigError(f"{os.fspath(path)}: holds no request: {_FORMS}")
    read.sort(key=lambda request: request.at_us)
    first_us, span_us = read[0].at_us, read[-1].at_us - read[0].at_us
    if span_us > _SPAN_MAX_US:
        raise ConfigError(f"{os.fspath(path)}: spans {span_us / 86_400e6:,.1f} days: must be at most 366")
    return [Request(request.at_us - first_us, request.input_tokens, request.output_tokens) for request in read]


def _open(file: Path) -> TextIO:
    with file.open("rb") as stream:
        zipped = stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    # utf-8-sig: spreadsheets begin files with a byte order mark.
    return gzip.open(file, "rt", encoding="utf-8-sig") if zipped else file.open(encoding="utf-8-sig")


def _parse(lines: Iterator[str]) -> Iterator[Request]:
    first = next(lines, "")
    everything = chain([first], lines)
    return _parse_json(everything) if first.lstrip().startswith("{") else _parse_csv(everything)


def _parse_csv(lines: Iterable[str]) -> Iterator[Request]:
    rows = csv.reader(lines)
    try:
        header = [name.strip() for name in next(rows, [])]
        missing = [name for name in _COLUMNS if name not in header]
        if missing:
            raise ConfigError(f"line 1: header {short(','.join(header))}: {_FORMS}")
        places = [header.index(name) for name in _COLUMNS]
        for row in rows:
            if not row:
                continue
            if len(row) < len(header):
                rule = f"must have {len(header)} columns, as the header has"
                raise ConfigError(f"line {rows.line_num}: {short(','.join(row))}: {rule}")
            when, context, generated = (row[place].strip() for place in places)
            yield Request(
                _moment(rows.line_num, when),
                _digits(rows.line_num, "ContextTokens", context),
                _digits(rows.line_num, "GeneratedTokens", generated),
            )
    except csv.Error as error:
        raise ConfigError(f"line {rows.line_num}: not CSV: {error}") from None


def _moment(line: int, text: str) -> int:
    """Microseconds since 1970 of a date and time; a finer fraction is cut, a missing time zone is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        rule = "must be a date and time like 2023-11-16 18:15:46.6805900"
        raise ConfigError(f"line {line}: TIMESTAMP = {short(text)}: {rule}") from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND


def _digits(line: int, name: str, text: str) -> int:
    # Not int(text) alone: it would also take "1_000" and digits of other scripts. The length bounds its work.
    value = int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else -1
    if not 0 <= value <= TOKENS_MAX:
        raise ConfigError(f"line {line}: {name} = {short(text)}: {_COUNT_RULE}")
    return value


def _parse_json(lines: Iterable[str]) -> Iterator[Request]:
    for line, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            body = json.loads(text)
        except (ValueError, RecursionError) as error:
            rule = f"must be one JSON object per line ({error})"
            raise ConfigError(f"line {line}: {short(text.strip())}: {rule}") from None
        if not isinstance(body, dict):
            raise ConfigError(f"line {line}: {short(body)}: must be a JSON object with the keys {', '.join(_FIELDS)}")
        for name in _FIELDS:
            if name not in body:
                raise ConfigError(f"line {line}: {name}: is required")
        when, context, generated = (body[name] for name in _FIELDS)
        yield Request(
            _milliseconds(line, when), _count(line, "input_length", context), _count(line, "output_length", generated)
        )


def _milliseconds(line: int, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _TIMESTAMP_MAX_MS:
        rule = "must be milliseconds, a number from 0 to 2**52 / 1000"
        raise ConfigError(f"line {line}: timestamp = {short(value)}: {rule}")
    return round(value * 1000)


def _count(line: int, name: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= TOKENS_MAX:
        raise ConfigError(f"line {line}: {name} = {short(value)}: {_COUNT_RULE}")
    return value
