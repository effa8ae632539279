"""Promises of `ratelimit.web.call` about large calls: work and memory grow with the size, and no faster."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from tests.web.effort import calls_of
from tests.web.model_calls import chat, texts, user

SHAPES: dict[str, Callable[[int], Any]] = {
    "messages": lambda n: [user("a")] * n,
    "odd messages": lambda n: [{"role": "user", "content": None, "x": [1]}] * n,
    "no messages": lambda n: [5] * n,
    "parts": lambda n: [user([{"type": "text", "text": "a"}] * n)],
    "images": lambda n: [user([{"type": "image_url", "image_url": {"url": "data:image/png;base64,A"}}] * n)],
    "data URLs": lambda n: [user([{"type": "new", "x": ["data:,"] * n}])],
    "fields": lambda n: [{str(number): "data:," for number in range(n)}],
    "deep": lambda n: [nested(n)],
}


def nested(count: int) -> object:
    """So many content parts, sixty at a time within one another."""
    node: object = "a"
    for _ in range(60):
        node = [{"content": node}] + [{"content": "b"}] * (count // 60)
    return {"content": node}


@pytest.mark.parametrize("shape", SHAPES)
def test_work_grows_with_the_size(shape: str) -> None:
    """Twice the messages, parts or fields are at most twice the calls."""

    def work(size: int) -> int:
        messages = SHAPES[shape](size)
        return calls_of(lambda: chat(*messages).text_bytes)

    assert work(4_000) <= 2 * work(2_000) + 50


def test_many_small_values_take_little_memory() -> None:
    """A body of two million empty lists must not become gigabytes: its values are kept, and no JSON of each."""
    messages: list[object] = [[]] * 20_000
    tracemalloc.start()
    try:
        call = chat(*messages)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
    assert sum(map(len, texts(call))) == call.text_bytes == 40_000


@pytest.mark.parametrize("wrap", [lambda texts: texts, lambda texts: [user(texts)]])
def test_a_list_of_texts_is_taken_as_a_whole(wrap: Callable[[list[str]], list[object]]) -> None:
    """Millions of them fit in a body, and looking at each would stop an event loop for seconds."""
    messages = wrap(["a"] * 4_000)
    assert chat(*messages).text_bytes == 4_000
    assert calls_of(lambda: chat(*messages)) < 400
