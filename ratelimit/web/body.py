"""Reads a request body so that every JSON parser would read it alike, or refuses it.

Theory of operation. What a call costs is read from the body here, but an upstream obeys the bytes, with a parser of its
own. Where the two could differ (names given twice, names in another case, numbers out of range), a client could pay for
one call and get another, so such a body is refused. To see that without a parser in Python:

* orjson reads the bytes, which settles UTF-8, byte order marks, trailing data, NaN, infinities and half surrogates.
* orjson writes what it read. When that gives the same bytes, as with what the providers' SDKs send, nothing was lost in
  reading, so no name was there twice. It writes from within a nest of lists as deep as it can, so that it fails on a
  body that is too deep.
* Otherwise the bytes are read again with their objects written as arrays, `{"a":1,"a":2}` as `["a",1,"a",2]`. Arrays
  lose nothing, and both forms are written with the same length unless a name was there twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final, NoReturn

import orjson

from ratelimit.plans.faults import short
from ratelimit.web.fields import COSTLY_FIELDS, QUIET_FIELDS, known_spelling

__all__ = ("DEPTH_MAX", "BadBody", "check_form", "parse_body")

DEPTH_MAX: Final = 64
"""Objects and arrays within one another, the body itself included."""

_IS_UTF8: Final = re.compile(r'; *charset="?(?:utf-?8|us-ascii)"? *$')
_KNOWN: Final = COSTLY_FIELDS | QUIET_FIELDS
_SERVERS_DIFFER: Final = "servers differ in what they make of it"
_PARAM_MAX: Final = 64
_SMALL: Final = 4_096
_NESTED_MAX: Final = 250_000
"""Braces and brackets, those in texts included. Megabytes of empty lists would keep the event loop for seconds."""
_FIELDS_MAX: Final = 1_000
"""Fields of a body, ten times as many as the APIs know. Each unknown one is looked at on its own."""
_NAMED_BELOW: Final = 1024 * 1024
"""Bytes of a body in which the name that is there twice is looked for, which takes far longer than reading it."""
_NEST_TRIED: Final = 2_000


class BadBody(Exception):
    """A request body that is refused. `message` is for people; `param` is the field that is wrong, if it is one."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


def check_form(codings: Sequence[str], types: Sequence[str]) -> None:
    """Refuse headers by which a server may read other things in the same bytes than JSON in UTF-8.

    Args:
        codings: every Content-Encoding of the request.
        types: every Content-Type. One that names no form, such as none at all, is no reason to refuse.

    Raises:
        BadBody: a coding, a form, or another charset.
    """
    for coding in codings:
        if coding.strip().lower() not in ("", "identity"):
            raise BadBody("Content-Encoding of a request must be identity: send the body as it is")
    for content_type in types:
        said = content_type.lower()
        if "form" in said or ("charset" in said and (said.count("charset") > 1 or not _IS_UTF8.search(said))):
            raise BadBody(f"Content-Type {short(content_type)}: must be application/json, in UTF-8")


def parse_body(raw: bytes, *, depth: int = DEPTH_MAX) -> dict[str, Any]:
    """The JSON object that these bytes are to every parser.

    Linear in the size of `raw`, with a few times its memory. Numbers keep JSON's own types: an integer beyond 64 bits
    becomes a float, which no limit field takes.

    Raises:
        BadBody: not one JSON object in UTF-8; objects and arrays deeper than `depth`, or beyond counting; more than
            1,000 fields; a name that is twice in one object, wherever it is; a costly field in another spelling.
    """
    if len(raw) > _NESTED_MAX and _braces(raw) > _NESTED_MAX:
        raise BadBody(
            f"the request body must hold at most {_NESTED_MAX:,} braces and brackets, those in texts included"
        )
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadBody(f"the request body must be one JSON object in UTF-8: {error}") from None
    if type(body) is not dict:
        raise BadBody(f"the request body must be one JSON object: it is {short(body)}")
    if not _KNOWN.issuperset(body):
        _check_names(body)
    length = _rewritten(raw, body, depth)
    if length is not None and length != len(orjson.dumps(orjson.loads(_as_arrays(raw)))):
        _refuse_repeated(raw)
    return body


def _braces(raw: bytes) -> int:
    """How many braces and brackets open in a body, if not too many. `bytes.count` takes five times as long."""
    left = [raw.replace(opening, b"", _NESTED_MAX + 1) for opening in (b"{", b"[")]
    return sum(len(raw) - len(without) for without in left)


def _check_names(body: dict[str, Any]) -> None:
    if len(body) > _FIELDS_MAX:
        raise BadBody(f"the request body must have at most {_FIELDS_MAX:,} fields")
    for name in body.keys() - _KNOWN:
        known = known_spelling(name)
        if known is not None:
            raise BadBody(f"field {short(name)} must be spelled {known!r}: {_SERVERS_DIFFER}", known)
        if not name.isprintable():
            # A server in C may end the name at a null character, and find one of the others.
            raise BadBody(f"field {short(name)} must have printable characters only")


def _rewritten(raw: bytes, body: dict[str, Any], depth: int) -> int | None:
    """The length of the body as orjson writes it, None if that is `raw` itself. Checks the depth by the way."""
    nest: object = body
    levels = 0
    if len(raw) > _SMALL or raw.count(b"[") + raw.count(b"{") > depth:
        nest, levels = _nest(depth)
    try:
        written = orjson.dumps(nest, default=lambda _: body)
    except TypeError:  # the writer's only way to fail on what its own reader returned
        raise BadBody(f"the request body must nest objects and arrays at most {depth} deep") from None
    length = len(written) - 2 * levels
    return None if length == len(raw) and written.startswith(raw, levels) else length


def _as_arrays(raw: bytes) -> bytes:
    """The same JSON with objects as arrays of names and values. Within strings one character takes another's place."""
    return raw.replace(b"{", b"[").replace(b"}", b"]").replace(b":", b",")


@cache
def _nest(depth: int) -> tuple[object, int]:
    """Lists around one free place, so deep that the writer can just bear `depth` more; and how many lists."""
    filled = _lists(depth - 1, {})
    for levels in range(1, _NEST_TRIED):
        try:
            orjson.dumps(_lists(levels + 1, object()), default=lambda _: filled)
        except TypeError:
            return _lists(levels, object()), levels
    raise RuntimeError(f"orjson {orjson.__version__} writes without a limit of depth: use a version below it")


def _lists(levels: int, within: object) -> object:
    for _ in range(levels):
        within = [within]
    return within


def _refuse_repeated(raw: bytes) -> NoReturn:
    """Say which name is there twice: the parser of the standard library shows every pair."""
    if len(raw) < _NAMED_BELOW:
        json.loads(raw, object_pairs_hook=_once)
    raise BadBody(f"a field stands twice in one object of the request body: {_SERVERS_DIFFER}")


def _once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            param = name if len(name) <= _PARAM_MAX and name.isprintable() else None
            raise BadBody(f"field {short(name)} stands twice in one object: {_SERVERS_DIFFER}", param)
        seen.add(name)


_nest(DEPTH_MAX)  # at once: should orjson lose its limit, that shows at the start and not with the first large body
