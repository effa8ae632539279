"""Usage objects of every dialect as one `Usage`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.web.routes import Kind
from ratelimit.web.usage import Usage
from ratelimit.web.wire_usage import TOKENS_MAX, read_usage

COUNTS = (
    "prompt_tokens",
    "completion_tokens",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)
DETAILS = {
    "prompt_tokens_details": ("cached_tokens", "cache_write_tokens"),
    "input_tokens_details": ("cached_tokens", "cache_write_tokens"),
    "completion_tokens_details": ("reasoning_tokens",),
    "output_tokens_details": ("reasoning_tokens", "thinking_tokens"),
}
NO_COUNT: list[Any] = [-1, True, False, "12", 1.0, 1e400, float("nan"), None, [], {}, TOKENS_MAX + 1]
amounts = st.integers(-2, 3000) | st.sampled_from([TOKENS_MAX, *NO_COUNT])
objects = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(COUNTS, amounts)
    | {
        name: st.none() | st.fixed_dictionaries({}, optional=dict.fromkeys(inners, amounts))
        for name, inners in DETAILS.items()
    },
)


@pytest.mark.parametrize(
    ("kind", "raw", "usage"),
    [
        (Kind.CHAT, {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}, Usage(10, 0, 0, 4)),
        (Kind.CHAT, {"prompt_tokens": 10, "total_tokens": 14}, Usage(10, 0, 0, 4)),
        (Kind.CHAT, {"prompt_tokens": 10, "completion_tokens": None, "total_tokens": 14}, Usage(10, 0, 0, 4)),
        (Kind.CHAT, {"prompt_tokens": 10, "total_tokens": 3}, Usage(10)),
        (Kind.CHAT, {"prompt_tokens": 10}, None),
        (Kind.CHAT, {"completion_tokens": 10}, None),
        (Kind.EMBEDDINGS, {"prompt_tokens": 8, "total_tokens": 8}, Usage(8)),
        (Kind.EMBEDDINGS, {"prompt_tokens": 8}, Usage(8)),
        (Kind.RESPONSES, {"input_tokens": 5, "output_tokens": 2}, Usage(5, 0, 0, 2)),
        (Kind.MESSAGES, {"input_tokens": 5, "output_tokens": 2}, Usage(5, 0, 0, 2)),
        (Kind.MESSAGES, {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 9}, Usage(5, 9, 0, 2)),
        (Kind.MESSAGES, {"input_tokens": 5}, None),
        (Kind.CHAT, {}, None),
        (Kind.CHAT, None, None),
        (Kind.CHAT, [1], None),
        (Kind.CHAT, "usage", None),
    ],
)
def test_usage_is_read(kind: Kind, raw: object, usage: Usage | None) -> None:
    """Each dialect's counts land in their classes; what cannot be charged is no usage."""
    assert read_usage(raw, kind) == usage


def test_openai_counts_cached_input_inside_the_input() -> None:
    """Cached tokens and cache writes are taken out of the prompt's tokens, reasoning stays in the output's."""
    details = {"cached_tokens": 60, "cache_write_tokens": 30}
    chat = {"prompt_tokens": 100, "completion_tokens": 50, "prompt_tokens_details": details}
    responses = {"input_tokens": 100, "output_tokens": 50, "input_tokens_details": details}
    chat["completion_tokens_details"] = responses["output_tokens_details"] = {"reasoning_tokens": 20}
    assert read_usage(chat, Kind.CHAT) == read_usage(responses, Kind.RESPONSES) == Usage(10, 60, 30, 50, 20)


def test_anthropic_counts_cached_input_beside_the_input() -> None:
    """`input_tokens` excludes what was read from a cache or written to one."""
    raw = {
        "input_tokens": 25,
        "cache_creation_input_tokens": 2048,
        "cache_read_input_tokens": 10_000,
        "output_tokens": 503,
        "output_tokens_details": {"thinking_tokens": 100},
    }
    assert read_usage(raw, Kind.MESSAGES) == Usage(25, 10_000, 2048, 503, 100)


def test_the_names_decide_before_the_endpoint() -> None:
    """A server that answers one API in the words of the other is read by its words."""
    openai = {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 6}}
    anthropic = {"input_tokens": 4, "cache_read_input_tokens": 6, "output_tokens": 4}
    responses = {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 6}, "output_tokens": 4}
    for kind in (Kind.CHAT, Kind.MESSAGES, Kind.RESPONSES):
        assert (
            read_usage(openai, kind) == read_usage(anthropic, kind) == read_usage(responses, kind) == Usage(4, 6, 0, 4)
        )


@pytest.mark.parametrize("wrong", [value for value in NO_COUNT if value is not None])
@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
def test_a_total_that_is_no_count_makes_no_usage(name: str, wrong: object) -> None:
    """Strings, fractions, NaN, booleans, negative and huge numbers are not charged, and not taken for 0."""
    raw = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, name: wrong}
    assert read_usage(raw, Kind.CHAT) is None


@pytest.mark.parametrize("wrong", NO_COUNT)
def test_a_detail_that_is_no_count_is_nothing(wrong: object) -> None:
    """Input whose cached part is unclear is charged as input."""
    raw = {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": wrong}}
    assert read_usage(raw, Kind.CHAT) == Usage(10, 0, 0, 4)


@settings(deadline=None)
@given(raw=objects, kind=st.sampled_from(Kind))
def test_no_class_is_negative_and_no_token_is_counted_twice(raw: dict[str, Any], kind: Kind) -> None:
    """Whatever the numbers, every class is a count, and OpenAI's input classes add up to its input."""
    usage = read_usage(raw, kind)
    if usage is None:
        return
    counts = (usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning)
    assert all(type(count) is int and 0 <= count <= TOKENS_MAX for count in counts)
    assert usage.reasoning <= usage.output
    if "prompt_tokens" in raw:
        assert usage.input + usage.cache_read + usage.cache_write == raw["prompt_tokens"]
