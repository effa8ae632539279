"""Promises of `ratelimit.web.exchange`: what a request is settled at."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from ratelimit.web.routes import DialectName
from ratelimit.web.usage import Usage
from tests.web.asgi_gateway import asking, served
from tests.web.asgi_server import Connection, StoryApp, http_scope
from tests.web.stories import INPUT, ByteTokens, Story, ask

DIALECTS: tuple[DialectName, ...] = ("openai", "anthropic")
STORY = Story("openai")
JSON = [(b"content-type", b"application/json")]
STANDINGS = {"openai": b"x-ratelimit-remaining-tokens", "anthropic": b"anthropic-ratelimit-tokens-remaining"}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("usage", [True, False])
def test_a_whole_answer_is_settled_at_its_usage(dialect: DialectName, usage: bool) -> None:
    """Or, when it does not say it, at the text that is in it."""
    story = Story(dialect, usage=usage)
    gateway = served(asking(story, stream=False), StoryApp([story.whole], headers=JSON))
    assert gateway.books.settled == [{"requests": 1, "tokens": INPUT + story.tokens}]


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_a_compressed_stream_is_metered_too(coding: str) -> None:
    """And passes as it is."""
    body = b"".join(STORY.chunks)
    data = gzip.compress(body) if coding == "gzip" else body
    headers = [(b"content-type", b"text/event-stream"), (b"Content-Encoding", coding.encode())]
    connection = asking(STORY)
    gateway = served(connection, StoryApp([data[:70], data[70:]], headers=headers))
    assert gateway.books.settled == [{"requests": 1, "tokens": INPUT + STORY.tokens}]
    assert b"".join(connection.chunks) == data


@pytest.mark.parametrize(
    ("given", "settled"),
    [
        ("refund_tokens", [{"requests": 1, "tokens": 0}]),
        ("refund", [{"requests": 0, "tokens": 0}]),
        ("keep", None),
    ],
)
@pytest.mark.parametrize("failure", [302, 400, 429, 500, 503, "raises"])
@pytest.mark.parametrize("stream", [True, False])
def test_what_an_upstreams_failure_costs_is_an_option(
    given: Any, settled: list[dict[str, int]] | None, failure: int | str, stream: bool
) -> None:
    """By default the tokens come back and the request stays counted; a 429 of the upstream passes as it is."""
    status = failure if isinstance(failure, int) else 200
    app = StoryApp([b'{"error": {}}'], status=status, headers=JSON, fails_before=0 if failure == "raises" else None)
    connection = asking(STORY, stream=stream)
    gateway = served(connection, app, on_upstream_error=given)
    (charge,) = gateway.books.charges
    assert charge.settled == (settled or [])
    if settled is None:
        assert gateway.used == (1, charge.reserved["tokens"])
    if failure != "raises":
        assert (connection.status, connection.text) == (failure, '{"error": {}}')
        assert STANDINGS["openai"] in connection.headers


@pytest.mark.parametrize("given", ["refund_tokens", "refund", "keep"])
def test_a_failure_in_the_middle_of_a_stream_is_no_failure_of_the_upstream(given: Any) -> None:
    """What was streamed was produced."""
    gateway = served(asking(STORY), StoryApp(STORY.chunks, fails_before=4), on_upstream_error=given)
    output = sum(len(text.encode()) for text in STORY.texts[:2])
    assert gateway.books.settled == [{"requests": 1, "tokens": INPUT + output}]


def test_embeddings_have_no_output() -> None:
    """Whatever bytes their answer has, with usage or without."""
    for usage, tokens in (({"usage": {"prompt_tokens": 8, "total_tokens": 8}}, 8), ({}, INPUT)):
        answer = json.dumps({"data": [{"embedding": [0.5] * 100}], **usage}).encode()
        body = json.dumps({"model": "glm-5", "input": "text"}).encode()
        gateway = served(Connection(http_scope(path="/v1/embeddings"), [body]), StoryApp([answer], headers=JSON))
        assert gateway.books.settled == [{"requests": 1, "tokens": tokens}]


def test_output_is_never_more_than_the_call_allows() -> None:
    """Where it is counted: the count is a guess, the cap is not."""
    story = Story("openai", usage=False)
    connection = Connection(http_scope(), [ask(max_tokens=7)])
    assert served(connection, StoryApp(story.chunks)).books.settled == [{"requests": 1, "tokens": INPUT + 7}]


def test_only_complete_usage_is_learned_from() -> None:
    """A cut stream says too little, an error nothing."""
    tokens = ByteTokens()
    for app in (StoryApp(STORY.chunks, fails_before=5), StoryApp([b"{}"], status=500)):
        served(asking(STORY), app, tokens=tokens)
    assert tokens.learned == []
    served(asking(STORY), StoryApp(STORY.chunks), tokens=tokens)
    assert tokens.learned == [Usage(input=INPUT, output=STORY.tokens)]


@pytest.mark.parametrize("verb", ["input_tokens", "output_tokens", "learn"])
def test_an_estimator_that_fails_costs_nobody_the_answer(verb: str, caplog: pytest.LogCaptureFixture) -> None:
    """Before the app is called the request is refused; after it the estimate stays, and the log says why."""

    def fail(*_: object) -> int:
        raise ZeroDivisionError("of the user's own")

    tokens: Any = ByteTokens()
    setattr(tokens, verb, fail)
    story = Story("openai", usage=verb != "output_tokens")
    connection = asking(story)
    gateway = served(connection, StoryApp(story.chunks), tokens=tokens)
    assert "of the user's own" in caplog.text
    if verb == "input_tokens":
        assert (connection.status, gateway.books.charges) == (503, [])
        return
    assert connection.status == 200
    assert connection.chunks[:-1] == list(story.chunks)
    (charge,) = gateway.books.charges
    assert gateway.used == (1, charge.reserved["tokens"])


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_is_still_to_come_keeps_its_estimate(stream: bool) -> None:
    """A Responses call in the background goes on after its response: what is there by then is not all of it."""
    response: dict[str, Any] = {"id": "resp_1", "object": "response", "status": "queued", "output": [], "usage": None}
    body = json.dumps({"model": "glm-5", "input": "text", "background": True, "stream": stream}).encode()
    event = {"type": "response.queued", "sequence_number": 0, "response": response}
    app = (
        StoryApp([f"event: response.queued\ndata: {json.dumps(event)}\n\n".encode()])
        if stream
        else StoryApp([json.dumps(response).encode()], headers=JSON)
    )
    gateway = served(Connection(http_scope(path="/v1/responses"), [body]), app)
    (charge,) = gateway.books.charges
    assert charge.reserved["tokens"] > INPUT
    assert gateway.used == (1, charge.reserved["tokens"])


@pytest.mark.parametrize("background", [True, False])
def test_a_client_that_goes_does_not_end_what_runs_in_the_background(background: bool) -> None:
    """Gone before the head of its stream: such a call goes on all the same, any other has cost its input."""
    body = json.dumps({"model": "glm-5", "input": "text", "background": background, "stream": True}).encode()
    connection = Connection(http_scope(path="/v1/responses"), [body])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        connection.gone.set()
        while (await receive())["type"] != "http.disconnect":
            pass

    gateway = served(connection, app)
    (charge,) = gateway.books.charges
    assert gateway.used == (1, charge.reserved["tokens"] if background else INPUT)


@pytest.mark.parametrize("failing", [0, 1])
def test_a_client_that_hangs_up_on_a_whole_answer_pays_for_it(failing: int) -> None:
    """Servers tell an app that its client has gone by an error of `send`, and nothing else."""
    story = Story("openai", usage=failing == 1)

    def reset() -> None:
        raise ConnectionResetError

    connection = Connection(http_scope(), [ask(stream=False)], {failing: [reset]})
    app = StoryApp([story.whole], headers=[(b"content-type", b"application/json")], ends_apart=False)
    gateway = served(connection, app)
    (charge,) = gateway.books.charges
    assert gateway.used == (1, charge.reserved["tokens"] if failing == 0 else INPUT + story.tokens)
