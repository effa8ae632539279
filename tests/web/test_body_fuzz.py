"""Any bytes, any values: reading a body ends in a call or in BadBody, and in nothing else."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.intake import AMOUNT_MAX
from ratelimit.web.body import BadBody, parse_body
from ratelimit.web.call import MediaCosts, ModelCall, read_call
from ratelimit.web.estimate import Estimator
from ratelimit.web.fields import CALL_FIELDS
from ratelimit.web.routes import Kind
from tests.web.json_texts import BODIES, DAMAGED, OBJECTS

KINDS = st.sampled_from(list(CALL_FIELDS))


def read(kind: Kind, raw: bytes) -> ModelCall | None:
    """A call whose numbers all make sense, or None of a body that is refused."""
    try:
        call = read_call(kind, parse_body(raw), MediaCosts())
    except BadBody:
        return None
    assert call.text_bytes == sum(len(text.encode()) for text in call.texts()) >= 0
    assert 0 <= call.fixed_tokens <= AMOUNT_MAX
    assert call.output_cap is None or 0 <= call.output_cap <= AMOUNT_MAX
    assert call.choices >= 1
    assert 0 < len(call.model) <= 256
    assert type(call.stream) is type(call.wants_usage) is bool
    estimate = Estimator().estimate(call, "subject")
    assert 1 <= estimate.input <= AMOUNT_MAX
    assert 0 <= estimate.output <= AMOUNT_MAX
    return call


@settings(max_examples=150)
@given(KINDS, st.one_of(OBJECTS, DAMAGED, st.binary(max_size=60)))
def test_any_bytes_are_read_or_refused(kind: Kind, raw: bytes) -> None:
    """No other exception, and no number that a cost could not be made of."""
    read(kind, raw)


@settings(max_examples=200)
@given(KINDS, BODIES)
def test_any_values_are_read_or_refused(kind: Kind, body: dict[str, Any]) -> None:
    """Anything in any place of a body."""
    read(kind, orjson.dumps(body))


@settings(max_examples=200)
@given(KINDS, BODIES, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50))
def test_more_text_is_never_cheaper(kind: Kind, body: dict[str, Any], text: str) -> None:
    """Whatever else a body holds, text in it counts with at least its bytes, also where nobody expects it."""
    plain = read(kind, orjson.dumps({**body, "documents": ""}))
    if plain is None:
        return
    padded = read(kind, orjson.dumps({**body, "documents": [{"anything": [text]}]}))
    assert padded is not None
    assert padded.text_bytes >= plain.text_bytes + len(text.encode())
