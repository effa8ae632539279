"""The body as we read it against three other parsers: the standard library's, msgspec's and pydantic's.

Whatever `parse_body` takes, all three take, and find the same in it. What they disagree on, it must refuse.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pydantic_core
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.intake import AMOUNT_MAX
from ratelimit.web.body import BadBody, parse_body
from ratelimit.web.call import MediaCosts, read_call
from ratelimit.web.fields import CALL_FIELDS
from tests.web.json_texts import DAMAGED, NUMBERS, OBJECTS

PARSERS: dict[str, Callable[[bytes], Any]] = {
    "json": json.loads,
    "msgspec": msgspec.json.decode,
    "pydantic": pydantic_core.from_json,
}
LIMITS = [(kind, name) for kind, fields in CALL_FIELDS.items() for name in (*fields.caps, *fields.choices)]


def first_wins(raw: bytes) -> Any:
    """As parsers read that keep the first of two equal names."""

    def first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, value in pairs:
            kept.setdefault(name, value)
        return kept

    return json.loads(raw, object_pairs_hook=first)


def alike(value: Any) -> Any:
    """The value with numbers as the least of the parsers can hold them: beyond 64 bits as floats."""
    if isinstance(value, dict):
        return {name: alike(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [alike(inner) for inner in value]
    if type(value) is int and not -(2**63) <= value < 2**64:
        value = float(value)
    # 1, 1.0 and True are equal to Python, but not here.
    return (type(value).__name__, repr(value))


def agree(raw: bytes) -> None:
    """Refused, or read alike by all."""
    try:
        body = parse_body(raw)
    except BadBody:
        return
    for name, parse in {**PARSERS, "first wins": first_wins}.items():
        assert alike(parse(raw)) == alike(body), name


@settings(max_examples=150)
@given(OBJECTS)
def test_all_parsers_agree_on_what_is_taken(raw: bytes) -> None:
    """Objects in every spelling of the grammar, with names that stand twice now and then."""
    agree(raw)


@settings(max_examples=150)
@given(DAMAGED)
def test_all_parsers_agree_on_what_is_left_of_damage(raw: bytes) -> None:
    """Bytes changed, taken out or put in."""
    agree(raw)


@settings(max_examples=200)
@given(st.binary(max_size=40).map(lambda inner: b'{"n":' + inner + b"}"))
def test_all_parsers_agree_on_any_bytes(raw: bytes) -> None:
    """Bytes of no structure."""
    agree(raw)


@settings(max_examples=400)
@given(st.sampled_from(LIMITS), NUMBERS)
def test_no_hostile_number_passes_the_gate(limit: tuple[Any, str], number: str) -> None:
    """A limit field is a whole number from 0 to 2**53 that all parsers read as the same integer, or the call fails."""
    kind, name = limit
    raw = f'{{"model":"glm-5","messages":[],"input":"x","prompt":"x","{name}":{number}}}'.encode()
    try:
        call = read_call(kind, parse_body(raw), MediaCosts())
    except BadBody:
        return
    values = {parse(raw)[name] for parse in PARSERS.values()}
    assert len(values) == 1
    (value,) = values
    assert type(value) is int
    assert 0 <= value <= AMOUNT_MAX
    if name in CALL_FIELDS[kind].caps:
        assert call.output_cap == (value or None)
    else:
        assert call.choices == max(value, 1)


@pytest.mark.parametrize(
    "number",
    ["true", "false", '"100"', "1.0", "1e2", "100.5", "-1", "-0.0", "9007199254740993", "1e400", "NaN", "[]", "{}"],
)
@pytest.mark.parametrize(("kind", "name"), LIMITS)
def test_what_is_no_whole_number_is_refused_by_name(kind: Any, name: str, number: str) -> None:
    """The message names the field, the value and the rule, or says where the JSON ends to be valid."""
    body = {"model": "glm-5", "messages": "[]", "input": '"x"', "prompt": '"x"', "max_tokens": "1", name: number}
    body["model"] = '"glm-5"'
    raw = "{" + ",".join(f'"{field}":{value}' for field, value in body.items()) + "}"
    with pytest.raises(BadBody) as caught:
        read_call(kind, parse_body(raw.encode()), MediaCosts())
    if number not in {"1e400", "NaN"}:
        assert caught.value.param == name
        assert caught.value.message.startswith(f"{name} = ")
        assert caught.value.message.endswith("must be a whole number from 0 to 9,007,199,254,740,992")
