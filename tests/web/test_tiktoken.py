"""Promises of `ratelimit.web.tiktoken`, with encodings made here: tiktoken downloads its own."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import tiktoken

from ratelimit.errors import ConfigError
from ratelimit.web.call import MediaCosts, ModelCall, read_call
from ratelimit.web.estimate import Estimator
from ratelimit.web.routes import Kind
from ratelimit.web.tiktoken import TiktokenEstimator


def encoding(name: str, *words: bytes) -> tiktoken.Encoding:
    """One token per byte, and one for each of these words."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    for word in words:
        for end in range(2, len(word) + 1):
            ranks.setdefault(word[:end], len(ranks))
    return tiktoken.Encoding(name, pat_str=r"\w+|\W", mergeable_ranks=ranks, special_tokens={"<|end|>": 9_999})


BYTES = encoding("bytes")
WORDS = encoding("words", b"hello", b"world")


def chat(content: str, model: str = "glm-5") -> ModelCall:
    """The call of a chat with this message."""
    body = {"model": model, "messages": [{"role": "user", "content": content}], "tools": ["hello"]}
    return read_call(Kind.CHAT, body, MediaCosts())


def test_every_text_is_encoded() -> None:
    """Messages, tools as JSON, and the fixed tokens; a special token in a text is only text."""
    counts = TiktokenEstimator(WORDS)
    assert counts.input_tokens(chat("hello world")) == 7 + len(["hello", " ", "world"]) + len(
        ["[", '"', "hello", '"', "]"]
    )
    assert counts.input_tokens(chat("<|end|>")) == 7 + len("<|end|>") + 5
    assert counts.input_tokens(chat("é")) == 7 + 2 + 5


def test_an_encoding_by_the_name_of_the_model() -> None:
    """Named ones, and a default; or a callable that chooses."""
    counts = TiktokenEstimator(BYTES, models={"glm-5": WORDS})
    assert counts.input_tokens(chat("hello")) == 7 + 1 + 5
    assert counts.input_tokens(chat("hello", "other")) == 7 + 5 + 9
    chosen = TiktokenEstimator(lambda model: WORDS if model == "glm-5" else BYTES)
    assert chosen.input_tokens(chat("hello")) == 7 + 1 + 5
    assert chosen.input_tokens(chat("hello", "other")) == 7 + 5 + 9


def test_long_texts_are_encoded_in_slices() -> None:
    """None of them longer than 4,096 characters, and nothing is left out."""
    longest = 0

    class Watched:
        def encode_ordinary(self, text: str) -> list[int]:
            nonlocal longest
            longest = max(longest, len(text))
            return BYTES.encode_ordinary(text)

    counts = TiktokenEstimator(BYTES)
    counts._models = {"glm-5": Watched()}  # type: ignore[dict-item]
    assert counts.input_tokens(chat("x" * 10_000)) == 7 + 10_000 + 9
    assert longest == 4_096


def test_output_is_reckoned_in_the_ratio_of_the_input() -> None:
    """Cut streams leave only a number of bytes."""
    counts = TiktokenEstimator(BYTES)
    assert counts.output_tokens("glm-5", 1_000) == 300
    for _ in range(200):
        counts.input_tokens(chat("x" * 2_000))
    assert 980 <= counts.output_tokens("glm-5", 1_000) <= 1_000
    for number in range(300):
        counts.input_tokens(chat("x", f"model {number}"))
    assert len(counts._ratios) == 256


def test_it_plugs_in() -> None:
    """As the `tokens` of an estimator."""
    estimator = Estimator(tokens=TiktokenEstimator(WORDS))
    assert estimator.estimate(chat("hello world"), "a").input == 7 + 3 + 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "nonesuch"}, r"^encoding 'nonesuch' cannot be loaded by tiktoken: Unknown encoding"),
        ({"encoding": 5}, r"^encoding is int: must be a tiktoken Encoding, or the name of one$"),
        ({"encoding": BYTES, "models": {"m": None}}, r"^encoding is NoneType"),
    ],
)
def test_an_encoding_that_cannot_be_had(options: dict[str, Any], message: str) -> None:
    """Said when the estimator is made, not when the first request arrives."""
    with pytest.raises(ConfigError, match=message):
        TiktokenEstimator(**options)


def test_without_tiktoken_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    with pytest.raises(ConfigError, match=r"pip install 'llm-ratelimit\[tiktoken\]'$"):
        TiktokenEstimator("o200k_base")
