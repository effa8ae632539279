"""Promises of `ratelimit.web.exchange`: usage that the upstream is asked for and the client does not see."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.web.asgi_gateway import asking, served
from tests.web.asgi_server import Connection, StoryApp, http_scope
from tests.web.stories import DIALECT_PATHS, INPUT, Story, ask

STORY = Story("openai")
JSON = [(b"content-type", b"application/json")]


def usage_chunk(story: Story) -> bytes:
    """The event that only those get who ask for it."""
    return next(chunk for chunk in story.chunks if b"prompt_tokens" in chunk)


@pytest.mark.parametrize("asked", [None, False, True])
def test_the_upstream_is_asked_for_usage_and_the_client_does_not_see_it(asked: bool | None) -> None:
    """Unless the client had asked itself. Everything else of the stream is as the upstream sent it."""
    options: dict[str, Any] = {} if asked is None else {"stream_options": {"include_usage": asked}}
    body = ask(**options)
    app = StoryApp(STORY.chunks, headers=[(b"content-type", b"Text/Event-Stream"), (b"content-length", b"999")])
    connection = Connection(http_scope(accept_encoding="gzip", content_length=str(len(body))), [body])
    gateway = served(connection, app, ask_usage=True)
    assert gateway.books.settled == [{"requests": 1, "tokens": INPUT + STORY.tokens}]
    assert json.loads(app.body)["stream_options"] == {"include_usage": True}
    sent = dict(app.scope["headers"])
    assert int(sent[b"content-length"]) == len(app.body)
    if asked:
        assert app.body == body
        assert b"".join(connection.chunks) == b"".join(STORY.chunks)
        return
    assert b"accept-encoding" not in sent
    assert b"content-length" not in connection.headers
    assert b"".join(connection.chunks) == b"".join(STORY.chunks).replace(usage_chunk(STORY), b"")


@pytest.mark.parametrize("end", ["normal", "no last message", "cut in an event"])
def test_nothing_of_a_stripped_stream_is_kept_back(end: str) -> None:
    """What is held until it is known what it is comes out at the end."""
    chunks = [*STORY.chunks[:3], b"data: [DONE]"] if end == "cut in an event" else list(STORY.chunks)
    connection = asking(STORY)
    served(connection, StoryApp(chunks, ends_apart=end != "no last message"), ask_usage=True)
    assert b"".join(connection.chunks) == b"".join(chunks).replace(usage_chunk(STORY), b"")


@pytest.mark.parametrize("what", ["json", "error", "compressed"])
def test_only_plain_streams_are_stripped(what: str) -> None:
    """Whatever else comes in place of one passes as it is."""
    body = b"".join(STORY.chunks)
    headers = [(b"content-type", b"text/event-stream")]
    app = {
        "json": StoryApp([STORY.whole], headers=JSON),
        "error": StoryApp([body], status=500, headers=headers),
        "compressed": StoryApp([gzip.compress(body)], headers=[*headers, (b"content-encoding", b"gzip")]),
    }[what]
    connection = asking(STORY)
    served(connection, app, ask_usage=True)
    assert b"".join(connection.chunks) == app.stream


def test_anthropic_and_whole_answers_need_not_be_asked() -> None:
    """They always say it; their bodies are not touched."""
    for dialect, stream in (("anthropic", True), ("openai", False)):
        body = ask(stream=stream)
        app = StoryApp([b"{}"], headers=JSON)
        served(Connection(http_scope(path=DIALECT_PATHS[dialect]), [body]), app, ask_usage=True)  # type: ignore[index]
        assert app.body == body
