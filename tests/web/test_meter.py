"""What a meter reads from the answers of every dialect, and that it only looks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ratelimit.web.meter import open_meter
from ratelimit.web.routes import Kind
from ratelimit.web.usage import Reading, Usage
from tests.web.streams import DONE, SSE, chunk, event, read, usage_chunk

GOLDEN = Path(__file__).parent / "golden" / "usage"
EXPECTED: dict[str, dict[str, Any]] = json.loads((GOLDEN / "expected.json").read_text())
STREAMS = [name for name in EXPECTED if name.endswith(".sse")]
JSON = "application/json"


def _content_type(name: str) -> str:
    return SSE if name.endswith(".sse") else JSON


def _expected(name: str) -> tuple[Kind, Reading]:
    told = EXPECTED[name]
    usage = told["usage"] and Usage(**told["usage"])
    return Kind[told["kind"]], Reading(usage, told["complete"], told["text_bytes"])


def test_every_golden_file_is_expected() -> None:
    """No payload lies there without a reading."""
    assert {path.name for path in GOLDEN.iterdir()} == {*EXPECTED, "expected.json"}


@pytest.mark.parametrize("name", EXPECTED)
def test_golden_answers_are_read(name: str) -> None:
    """One answer of each dialect and variant, whole and cut: its usage, or the text that was in it."""
    kind, reading = _expected(name)
    assert read(kind, [(GOLDEN / name).read_bytes()], _content_type(name)) == reading


@pytest.mark.parametrize("name", EXPECTED)
def test_chunks_do_not_matter(name: str) -> None:
    """A golden answer reads the same when cut in two, in many places, and byte by byte."""
    kind, reading = _expected(name)
    body = (GOLDEN / name).read_bytes()
    for place in range(0, len(body), 3):
        assert read(kind, [body[:place], body[place:]], _content_type(name)) == reading
    assert read(kind, [body[at : at + 1] for at in range(len(body))], _content_type(name)) == reading


@pytest.mark.parametrize("name", STREAMS)
def test_the_manner_of_an_event_stream_does_not_matter(name: str) -> None:
    """Line ends, a byte order mark, comments, pings, and a missing last blank line change no reading."""
    kind, reading = _expected(name)
    body = (GOLDEN / name).read_bytes()
    for variant in (
        body.replace(b"\n", b"\r\n"),
        body.replace(b"\n", b"\r"),
        b"\xef\xbb\xbf" + body,
        body.rstrip(b"\n"),
        body.replace(b"\n\n", b'\n\n: ping\n\nevent: ping\ndata: {"type":"ping"}\n\n'),
        body.replace(b"\n\n", b"\n: with a comment\nid: 7\n\n"),
        body.replace(b"data: ", b"data:"),
    ):
        assert read(kind, [variant]) == reading


@pytest.mark.parametrize("name", EXPECTED)
def test_the_endpoint_matters_less_than_the_answer(name: str) -> None:
    """An answer of another dialect than its endpoint's is read by its own words."""
    kind, reading = _expected(name)
    body = (GOLDEN / name).read_bytes()
    for other in (Kind.CHAT, Kind.COMPLETION, Kind.RESPONSES, Kind.MESSAGES):
        if kind is not Kind.EMBEDDINGS:
            assert read(other, [body], _content_type(name)) == reading


@pytest.mark.parametrize("name", EXPECTED)
def test_a_content_type_that_says_nothing_is_no_obstacle(name: str) -> None:
    """Without a telling content type the body's beginning decides."""
    kind, reading = _expected(name)
    body = (GOLDEN / name).read_bytes()
    for content_type in ("", "text/plain", "application/octet-stream"):
        assert read(kind, [body], content_type) == reading
        assert read(kind, [body[at : at + 1] for at in range(len(body))], content_type) == reading


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"]
)
def test_json_goes_by_many_names(content_type: str) -> None:
    """Parameters, case and suffixes are understood."""
    body = b'{"usage":{"prompt_tokens":1,"completion_tokens":2}}'
    assert read(Kind.CHAT, [body], content_type) == Reading(Usage(1, 0, 0, 2), complete=True, text_bytes=0)


@pytest.mark.parametrize("content_type", ["text/plain", "", "text/html"])
def test_plain_text_is_output(content_type: str) -> None:
    """What is neither JSON nor events is counted as it is."""
    assert read(Kind.CHAT, ["Grüße".encode(), b"!"], content_type) == Reading(None, complete=False, text_bytes=8)


def test_leading_space_does_not_decide() -> None:
    """White space before the first byte that tells is skipped, but not for ever."""
    body = b'{"usage":{"prompt_tokens":1,"completion_tokens":2}}'
    assert read(Kind.CHAT, [b" " * 4000, body], "").complete
    flood = [b" " * 1000] * 5
    assert read(Kind.CHAT, [*flood, body], "") == read(Kind.CHAT, [b"".join(flood) + body], "")
    assert read(Kind.CHAT, [*flood, body], "").text_bytes == 5000 + len(body)


@pytest.mark.parametrize("content_type", [SSE, JSON, "text/plain", ""])
@pytest.mark.parametrize("coding", ["", "gzip", "nonsense"])
def test_an_empty_body_says_nothing(content_type: str, coding: str) -> None:
    """No chunks and empty chunks give an empty reading."""
    nothing = Reading(None, complete=False, text_bytes=0, readable=coding != "nonsense")
    for chunks in ([], [b""], [b"", b""]):
        assert read(Kind.CHAT, chunks, content_type, coding) == nothing


@pytest.mark.parametrize("kind", [Kind.COUNT_TOKENS, Kind.MODELS, Kind.OTHER])
def test_endpoints_without_tokens_are_not_read(kind: Kind) -> None:
    """The `input_tokens` of count_tokens are no usage, and a list of models is no output."""
    body = b'{"input_tokens":7,"output_tokens":7,"usage":{"input_tokens":7,"output_tokens":7}}'
    assert read(kind, [body], JSON) == Reading(None, complete=False, text_bytes=0)


def test_finish_gives_one_reading() -> None:
    """It can be called again, and what comes after it changes nothing."""
    for content_type in (SSE, JSON, ""):
        meter = open_meter(Kind.CHAT, content_type, "")
        meter.feed(b'{"choices":[{"message":{"content":"Hi"}}]}')
        first = meter.finish()
        meter.feed(chunk("more") + usage_chunk(1, 1))
        assert meter.finish() == first


@pytest.mark.parametrize("wrong", ["-1", "true", '"12"', "NaN", "1e400", "1.5", "[]", "99999999999999999999", "null"])
def test_numbers_that_are_no_counts_are_no_usage(wrong: str) -> None:
    """A hostile or broken number is never charged: the text is."""
    usage = f'"usage":{{"prompt_tokens":10,"completion_tokens":{wrong}}}'.encode()
    body = b'{"choices":[{"message":{"content":"Hi"}}],%b}' % usage
    assert read(Kind.CHAT, [body], JSON) == Reading(None, complete=False, text_bytes=2)
    stream = chunk("Hi") + b'data: {"choices":[],%b}\n\n' % usage + DONE
    assert read(Kind.CHAT, [stream]) == Reading(None, complete=False, text_bytes=2)


def test_a_wrong_last_word_does_not_hide_the_word_before() -> None:
    """Of cumulative counts the last that is one counts."""
    stream = (
        event({"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}})
        + event({"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 5}})
        + event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": -5}})
        + event({"type": "message_stop"})
    )
    assert read(Kind.MESSAGES, [stream]) == Reading(Usage(9, 0, 0, 5), complete=True, text_bytes=0)


@pytest.mark.parametrize("count", [10, 100, 1000, 5000])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_long_streams_are_counted_exactly(count: int, ascii_only: bool) -> None:
    """Text of every kind, over any length: the sum of its UTF-8 bytes."""
    texts = ["a", "", 'q"', "\n\\", "\\n", "é", "你好", "\U0001f600", "\x7f", "</"]
    chunks = [
        b"data: " + json.dumps({"choices": [{"delta": {"content": texts[i % 10]}}]}, ensure_ascii=ascii_only).encode()
        for i in range(count)
    ]
    total = sum(len(texts[i % 10].encode()) for i in range(count))
    assert read(Kind.CHAT, [part + b"\n\n" for part in chunks]) == Reading(None, complete=False, text_bytes=total)


def test_half_an_emoji_is_counted() -> None:
    """A server may cut a surrogate pair between two chunks, and broken UTF-8 is output all the same."""
    stream = (
        rb'data: {"choices":[{"delta":{"content":"a\ud83d"}}]}' + b"\n\n"
        rb'data: {"choices":[{"delta":{"content":"\ude00b"}}]}' + b"\n\n"
        b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n'
    )
    assert read(Kind.CHAT, [stream]) == Reading(None, complete=False, text_bytes=4 + 4 + 3)


def test_usage_told_before_a_long_stream_is_found() -> None:
    """The last usage counts wherever it stands, also when what held it is long forgotten."""
    start = event({"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}})
    delta = event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "word"}})
    end = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}})
    for count in (1, 100, 20_000):
        whole = [start, *[delta] * count, end]
        assert read(Kind.MESSAGES, whole) == Reading(Usage(9, 0, 0, 5), complete=True, text_bytes=0)
        assert read(Kind.MESSAGES, whole[:-1]) == Reading(Usage(9, 0, 0, 1), complete=False, text_bytes=4 * count)


def test_an_event_that_is_too_large_does_not_hide_the_rest() -> None:
    """A megabyte of image in one event is skipped, the usage after it is not."""
    image = event({"choices": [{"delta": {"images": [{"url": "data:image/png;base64," + "A" * 1_000_000}]}}]})
    stream = chunk("Hi") + image + chunk("!") + usage_chunk(3, 4) + DONE
    for size in (1000, 65_536, len(stream)):
        parts = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert read(Kind.CHAT, parts) == Reading(Usage(3, 0, 0, 4), complete=True, text_bytes=0)


def _embeddings(count: int, usage: bytes = b',"usage":{"prompt_tokens":8,"total_tokens":8}') -> bytes:
    vector = b'{"object":"embedding","index":0,"embedding":[%b]}' % b",".join([b"-0.0123456789"] * 1536)
    return b'{"object":"list","data":[%b],"model":"m"%b}' % (b",".join([vector] * count), usage)


@pytest.mark.parametrize("count", [1, 30, 34, 35, 36, 40, 500])
def test_usage_at_the_end_of_a_huge_answer_is_found(count: int) -> None:
    """Embeddings of any size, at chunks of any size."""
    body = _embeddings(count)
    for size in (4096, 65_536, len(body)):
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        assert read(Kind.EMBEDDINGS, parts, JSON) == Reading(Usage(8), complete=True, text_bytes=0)


@pytest.mark.parametrize("count", [1, 100])
def test_embeddings_have_no_output(count: int) -> None:
    """Without usage, cut, broken or not decodable: their bytes are no text."""
    nothing = Reading(None, complete=False, text_bytes=0)
    body = _embeddings(count, b"")
    assert read(Kind.EMBEDDINGS, [body], JSON) == nothing
    assert read(Kind.EMBEDDINGS, [body[:-100]], JSON) == nothing
    assert read(Kind.EMBEDDINGS, [body], JSON, "nonsense") == nothing
    assert read(Kind.EMBEDDINGS, [body], JSON, "gzip") == replace(nothing, readable=False)
    assert read(Kind.EMBEDDINGS, [body], "application/octet-stream") == nothing


def test_broken_json_is_charged_by_its_size() -> None:
    """A cut or broken answer counts with all bytes that came, an upper bound of its text."""
    body = b'{"choices":[{"message":{"content":"Hello"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}'
    for place in range(1, len(body)):
        assert read(Kind.CHAT, [body[:place]], JSON) == Reading(None, complete=False, text_bytes=place)
    assert read(Kind.CHAT, [body + b"}"], JSON) == Reading(None, complete=False, text_bytes=len(body) + 1)


def test_a_huge_answer_without_usage_is_charged_by_its_size() -> None:
    """Beyond what is kept, the text cannot be told from the rest."""
    body = json.dumps({"choices": [{"message": {"content": "x" * 2_000_000}}]}).encode()
    assert read(Kind.CHAT, [body], JSON) == Reading(None, complete=False, text_bytes=len(body))


@pytest.mark.parametrize(
    "body",
    [
        '{"choices":[{"message":{"content":"Hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":2},"x":NaN}',
        '{"us\\u0061ge":{"prompt_tokens":1,"completion_tokens":2}}',
        '{"usage" : {"prompt_tokens":1,"completion_tokens":2}, "z":{"usage":{"prompt_tokens":7,"total_tokens":8}}}',
        '{"usage":{"prompt_tokens":7,"completion_tokens":7},"usage":{"prompt_tokens":1,"completion_tokens":2}}',
        json.dumps({"usage": {"prompt_tokens": 1, "completion_tokens": 2}, "z": [{"usage": None}] * 20}),
    ],
)
def test_usage_is_found_wherever_the_outermost_object_has_it(body: str) -> None:
    """Nested objects of the same name, escapes, repeated names, and what strict JSON forbids, in any size of body."""
    told = Reading(Usage(1, 0, 0, 2), complete=True, text_bytes=0)
    for padding in (0, 20_000, 500_000):
        padded = f'{{"padding":"{"x" * padding}",{body[1:]}'
        assert read(Kind.CHAT, [padded.encode()], JSON) == told


def test_usage_within_an_answer_that_is_cut_is_not_its_usage() -> None:
    """An object that ends where the answer was cut is not taken for the answer."""
    body = b'{"metadata":{"usage":{"prompt_tokens":1,"completion_tokens":2}}'
    assert read(Kind.CHAT, [body], JSON) == Reading(None, complete=False, text_bytes=len(body))


@pytest.mark.parametrize("body", ['{"output":7}', '{"choices":{"message":7}}', '{"a":1}\n', "{}"])
def test_json_of_no_known_shape_has_no_output(body: str) -> None:
    """A valid object without choices, content or output holds no text that we know of."""
    assert read(Kind.CHAT, [body.encode()], JSON) == Reading(None, complete=False, text_bytes=0)


@pytest.mark.parametrize("body", ["[]", "7", "null", '"text"', "[{}]"])
def test_json_that_is_no_object_is_charged_by_its_size(body: str) -> None:
    """No API answers so; as the data of an event it says nothing."""
    assert read(Kind.CHAT, [body.encode()], JSON) == Reading(None, complete=False, text_bytes=len(body))
    assert read(Kind.CHAT, [b"data: " + body.encode() + b"\n\n"]) == Reading(None, complete=False, text_bytes=0)


def test_depth_is_no_danger() -> None:
    """Nesting deeper than any parser's or our own stack is read as far as it can be."""
    for depth in (10, 250, 900, 1100, 100_000):
        for deep in ("[" * depth + "]" * depth, '{"content":' * depth + "{}" + "}" * depth):
            body = f'{{"content":[{{"type":"tool_use","input":{deep}}},{{"text":"Hi"}}],"a":{deep}}}'.encode()
            reading = read(Kind.MESSAGES, [body], JSON)
            assert reading.usage is None
            assert 2 <= reading.text_bytes <= len(body)
            assert read(Kind.MESSAGES, [b"data: " + body + b"\n\n", chunk("Hi")]).text_bytes >= 2
