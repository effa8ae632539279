"""Coverage-guided fuzzing of the body reader: `python -m tests.web.fuzz_body 60` runs for a minute.

Every input is read as it is, and as the choices from which a body is made, for every endpoint. A crash is any exception
but BadBody, and any body that is taken although the standard library's parser finds something else in it.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

# It ships no types, and is no part of the ordinary test run.
atheris: Any = importlib.import_module("atheris")

with atheris.instrument_imports(include=["ratelimit.web"]):
    from ratelimit.web.body import BadBody, parse_body
    from ratelimit.web.call import MediaCosts, read_call
    from ratelimit.web.estimate import Estimator
    from ratelimit.web.fields import CALL_FIELDS, COSTLY_FIELDS
    from ratelimit.web.media import MEDIA_FIELDS, MEDIA_TYPES

MEDIA = MediaCosts()
NAMES = sorted(
    {*COSTLY_FIELDS, *MEDIA_FIELDS, "role", "content", "type", "text", "tool_calls", "data", "include_usage"}
)
STRINGS = ["", "user", "text", "content", "data:image/png;base64,AAAA", "data:audio/wav,A", "low", *MEDIA_TYPES]
NUMBERS = ["0", "1", "7", "-0", "-1", "1.0", "1e2", "1e400", "9007199254740993", "18446744073709551616", "NaN"]
SPACES = ["", " ", "\n", "\t"]


def one_input(raw: bytes) -> None:
    """The bytes as they are, and the body that they choose."""
    read(raw)
    data = atheris.FuzzedDataProvider(raw)
    members = [member(data, 0, NAMES[data.ConsumeIntInRange(0, len(NAMES) - 1)]) for _ in range(8)]
    read("".join(["{", ",".join(['"model":"glm-5"', *members]), "}"]).encode("utf-8", "surrogatepass"))


def member(data: Any, depth: int, name: str) -> str:
    """A name and a value, written in one of many ways."""
    space = SPACES[data.ConsumeIntInRange(0, len(SPACES) - 1)]
    return f"{space}{string(data, name)}{space}:{space}{value(data, depth)}{space}"


def string(data: Any, text: str) -> str:
    """A string literal, escaped more or less."""
    escaped = json.dumps(text, ensure_ascii=bool(data.ConsumeBool()))
    return escaped.replace("_", "\\u005F") if data.ConsumeIntInRange(0, 9) == 9 else escaped


def value(data: Any, depth: int) -> str:
    """Any JSON, and some that is none."""
    sort = data.ConsumeIntInRange(0, 7)
    if depth < 5 and sort < 3:
        return "[" + ",".join(value(data, depth + 1) for _ in range(data.ConsumeIntInRange(0, 3))) + "]"
    if depth < 5 and sort < 5:
        names = [NAMES[data.ConsumeIntInRange(0, len(NAMES) - 1)] for _ in range(data.ConsumeIntInRange(0, 3))]
        return "{" + ",".join(member(data, depth + 1, name) for name in names) + "}"
    if sort == 5:
        return NUMBERS[int(data.ConsumeIntInRange(0, len(NUMBERS) - 1))]
    if sort == 6:
        return string(data, str(data.ConsumeUnicode(6)))
    return string(data, STRINGS[data.ConsumeIntInRange(0, len(STRINGS) - 1)])


def read(raw: bytes) -> None:
    """As every endpoint would."""
    try:
        body = parse_body(raw)
    except BadBody:
        return
    other = json.loads(raw)
    for name in COSTLY_FIELDS:
        found = body.get(name)
        if not isinstance(found, (float, list, dict)) and found != other.get(name):
            raise AssertionError(f"{name} is {found!r} here and {other.get(name)!r} there")
    for kind in CALL_FIELDS:
        try:
            call = read_call(kind, body, MEDIA)
        except BadBody:
            continue
        if call.text_bytes != sum(len(text.encode()) for text in call.texts()):
            raise AssertionError("text_bytes is not the length of the texts")
        Estimator().estimate(call, "subject")


def main(seconds: str = "60") -> None:
    """Fuzz for so many seconds."""
    limits = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=10", "-rss_limit_mb=1024"]
    atheris.Setup([sys.argv[0], *limits], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
