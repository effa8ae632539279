"""Promises of `ratelimit.web.body`."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson
import pytest

from ratelimit.web import body as module
from ratelimit.web.body import DEPTH_MAX, BadBody, check_form, parse_body
from ratelimit.web.fields import COSTLY_FIELDS, known_spelling
from tests.web.effort import calls_of
from tests.web.json_texts import variants

CHAT: dict[str, Any] = {
    "model": "glm-5",
    "messages": [{"role": "user", "content": 'a "quoted" {brace}: [1, 2]\n\u00e9\u0000 "model": 1, \\"n\\"'}],
    "max_tokens": 100,
    "stream_options": {"include_usage": True},
    "tools": [{"parameters": {"properties": {"model": {}, "input": {"stream": 1}, "Max_Tokens": {"n": 0.5}}}}],
}


def as_sdk(body: object) -> bytes:
    """As httpx and JavaScript write it."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "write",
    [
        as_sdk,
        orjson.dumps,
        lambda body: json.dumps(body).encode(),
        lambda body: json.dumps(body, indent=2).encode() + b"\n",
        lambda body: b" \t\r\n" + json.dumps(body, separators=(" ,", " : ")).encode(),
    ],
)
def test_a_body_is_read_however_it_is_written(write: Callable[[object], bytes]) -> None:
    """Spacing and escapes are the client's affair, and names may recur in texts and in other objects."""
    assert parse_body(write(CHAT)) == CHAT


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"[]",
        b"1",
        b'"text"',
        b"null",
        b"{",
        b'{"n":1}{}',
        b'{"n":1} x',
        b'{"n":1}\x00',
        b'{"n":1,}',
        b'{"n":NaN}',
        b'{"n":-Infinity}',
        b'{"n":1e400}',
        b'{"n":01}',
        b'{"n":+1}',
        b'{"n":0x10}',
        b'{"n":' + b"9" * 5_000 + b"}",
        b"{'n':1}",
        b"{n:1}",
        b'{"n":1 /* one */}',
        b'{"a":"\xff"}',
        b'{"a":"\xc0\xaf"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00\\ud800"}',
        b'{"a":"\n"}',
        b'{"a":"\\x41"}',
        b"\xef\xbb\xbf{}",
        '{"n":1}'.encode("utf-16"),
        '{"n":1}'.encode("utf-16-le"),
        '{"n":1}'.encode("utf-32"),
    ],
)
def test_what_is_not_one_object_in_utf8_is_refused(raw: bytes) -> None:
    """Whatever some parser would make of it."""
    with pytest.raises(BadBody, match=r"^the request body must be one JSON object") as caught:
        parse_body(raw)
    assert caught.value.param is None
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b'{"max_tokens":1,"max_tokens":100000}', "max_tokens"),
        (b'{"max_tokens":100000,"max_tokens":100000}', "max_tokens"),
        (b'{"max_tokens":1,"max\\u005ftokens":100000}', "max_tokens"),
        (b'{"\\u006d\\u0061x_tokens":1,"max_tokens":100000}', "max_tokens"),
        (b'{"max_tokens" :1, "model":"glm-5", "max_tokens"\n:2}', "max_tokens"),
        (b'{"model":"a","model":"b"}', "model"),
        (b'{"n":1,"n":1}', "n"),
        (b'{"stream_options":{"include_usage":true,"include_usage":false}}', "include_usage"),
        (b'{"messages":[{"role":"user","content":"short","content":"long"}]}', "content"),
        (b'{"messages":[{"content":[{"type":"text","text":"a","text":"b"}]}]}', "text"),
        (b'{"messages":[],"messages":[{"role":"user","content":"x"}]}', "messages"),
        (b'{"temperature":0,"temperature":1}', "temperature"),
        (b'{"":0,"":1}', ""),
        (b'{"a":{"\\u0001":0,"\\u0001":1}}', None),
        (b'{"a:b":0,"a:b":1}', "a:b"),
    ],
)
def test_a_name_that_stands_twice_is_refused(raw: bytes, name: str | None) -> None:
    """In any object, in any spelling: an upstream may obey the other one."""
    with pytest.raises(BadBody, match=r"^field '.*' stands twice in one object: ") as caught:
        parse_body(raw)
    assert caught.value.param == name


def test_what_the_check_finds_is_refused_even_without_a_name() -> None:
    """The parser that looks for the name is another one: should it find none, the body is still refused."""
    with pytest.raises(BadBody, match=r"^a field stands twice in one object of the request body: "):
        module._refuse_repeated(b'{"n":1}')


def test_names_that_only_look_alike_may_stand_together() -> None:
    """The check writes braces and colons as other characters; names that differ in them are still different."""
    for name, other in (("a:b", "a,b"), ("{", "["), ("}", "]"), ("a b", "ab"), ("\u00e9", "e\u0301")):
        body = {name: 1, other: {name: 2, other: [name]}}
        assert parse_body(json.dumps(body, indent=1).encode()) == body


@pytest.mark.parametrize("name", sorted(COSTLY_FIELDS))
def test_a_costly_field_has_one_spelling(name: str) -> None:
    """A name that a decoder with case folding would take for it is refused, in the body itself but not within."""
    for other in variants(name):
        for raw in (as_sdk({other: 1}), as_sdk({name: 1, other: 100_000})):
            with pytest.raises(BadBody, match=r" must be spelled ") as caught:
                parse_body(raw)
            assert caught.value.param == name
        assert parse_body(as_sdk({"metadata": {other: 1}})) == {"metadata": {other: 1}}
    assert known_spelling(name) is None


def test_camel_case_and_dashes_are_other_spellings() -> None:
    """Decoders of protobuf take maxTokens for max_tokens, others ignore dashes."""
    assert known_spelling("maxTokens") == "max_tokens"
    assert known_spelling("MAX-tokens") == "max_tokens"
    assert known_spelling("max_tokens_") == "max_tokens"
    assert known_spelling("max_token") is None
    assert known_spelling("m" * 10**6) is None


def test_a_name_cannot_hide_behind_a_null_character() -> None:
    """A server in C would take it for the name before the null."""
    with pytest.raises(BadBody, match=r"^field 'max_tokens\\x00' must have printable characters only$"):
        parse_body(b'{"max_tokens\\u0000":100000,"max_tokens":1}')


@pytest.mark.parametrize("pad", [0, 10_000], ids=["small", "large"])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'], ids=["arrays", "objects"])
@pytest.mark.parametrize("depth", [3, DEPTH_MAX, 100])
def test_depth_is_exact(depth: int, opening: bytes, pad: int) -> None:
    """As many levels as allowed are read, one more is refused, and far too many as well."""

    def nested(levels: int) -> bytes:
        closing = b"]" if opening == b"[" else b"}"
        inner = opening * (levels - 1) + b"1" + closing * (levels - 1)
        return b'{"a":' + inner + b',"b":"' + b"x" * pad + b'"}'

    parse_body(nested(depth), depth=depth)
    for levels in (depth + 1, 2 * depth, 1_000, 100_000):
        with pytest.raises(BadBody, match=r"deep$|^the request body must be one JSON object"):
            parse_body(nested(levels), depth=depth)


def test_brackets_in_text_do_not_count_as_depth() -> None:
    """Depth is that of the values."""
    body = {"messages": [{"content": "[" * 3_000}, {"content": "{[" * 30_000}] + [{}] * 200}
    assert parse_body(as_sdk(body)) == body


def test_without_a_limit_in_the_writer_no_body_passes_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of depth leans on a limit of orjson: were it gone, a body would fail loudly, not pass."""
    monkeypatch.setattr(module, "_NEST_TRIED", 5)
    module._nest.cache_clear()
    with pytest.raises(RuntimeError, match=r"^orjson .* writes without a limit of depth"):
        parse_body(as_sdk({"a": [[[]]] * 10_000}))
    module._nest.cache_clear()


def test_messages_are_short_and_name_no_more_than_the_field() -> None:
    """Whatever a body holds, little of it is repeated."""
    name = "k" * 10**5
    with pytest.raises(BadBody) as caught:
        parse_body(as_sdk({name: 0})[:-1] + b"," + as_sdk({name: 1})[1:])
    assert len(caught.value.message) < 200
    assert caught.value.param is None
    with pytest.raises(BadBody) as caught:
        parse_body(b"[" + b"1," * 10**5 + b"1]")
    assert len(caught.value.message) < 200


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "names": lambda n: b"{" + b",".join(b'"%d":0' % i for i in range(n)) + b"}",
    "repeated names": lambda n: b"{" + b",".join([b'"n":0'] * n) + b"}",
    "nearly costly names": lambda n: as_sdk({f"Max_Tokens{i}": 0 for i in range(n)}),
    "objects": lambda n: as_sdk({"messages": [{"a": 1}] * n}),
    "empty lists": lambda n: as_sdk({"input": [[]] * n}) + b" ",
    "quotes": lambda n: as_sdk({"a": '"' * n}) + b" ",
    "colons": lambda n: as_sdk({"a": ":{}" * n}) + b" ",
    "backslashes": lambda n: as_sdk({"a": "\\" * n}) + b" ",
    "spaces": lambda n: b'{"a":' + b" " * n + b"1}",
    "brackets": lambda n: as_sdk({"a": "[{" * n}),
    "unclosed": lambda n: b'{"a":' * n,
}


@pytest.mark.parametrize("family", HOSTILE)
def test_work_grows_with_the_size(family: str) -> None:
    """Twice the body is at most twice the calls."""

    def work(size: int) -> int:
        raw = HOSTILE[family](size)

        def run() -> None:
            with suppress(BadBody):
                parse_body(raw)

        return calls_of(run)

    work(10)  # what is made once
    assert work(4_000) <= 2 * work(2_000) + 50


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", 'text/plain;charset="UTF-8"', "application/vnd.x+json", ""],
)
def test_what_is_read_as_json_in_utf8_passes(content_type: str) -> None:
    """Whatever it is called; and curl sends some without a type."""
    check_form(["identity", ""], [content_type])
    check_form([], [])


@pytest.mark.parametrize(
    ("codings", "types"),
    [
        (["gzip"], []),
        (["identity", "gzip"], []),
        (["identity, br"], []),
        ([], ["application/x-www-form-urlencoded"]),
        ([], ["Multipart/Form-Data; boundary=x"]),
        ([], ["application/json", "application/x-www-form-urlencoded"]),
        ([], ["application/json; charset=utf-7"]),
        ([], ["application/json; charset=utf-8; charset=utf-16"]),
        ([], ["application/json; charset=utf-8, text/plain; charset=utf-7"]),
    ],
)
def test_what_a_server_may_read_otherwise_is_refused(codings: list[str], types: list[str]) -> None:
    """Compressed, as a form, in another charset: the same bytes would be another request."""
    with pytest.raises(BadBody, match=r"^Content-(Encoding|Type)"):
        check_form(codings, types)


def test_more_objects_than_any_call_has_are_refused_unread() -> None:
    """Each costs far more than its bytes, and while they are looked at nobody else is served."""
    few, many = (b'{"input":[' + b"[]," * count + b"1]}" for count in (200_000, 250_000))
    assert len(parse_body(few)["input"]) == 200_001
    with pytest.raises(
        BadBody, match=r"^the request body must hold at most 250,000 braces and brackets, those in texts included$"
    ):
        parse_body(many)


def test_more_fields_than_any_call_has_are_refused() -> None:
    """Of fields within the body there may be more: nobody looks at their names one by one."""
    few, many = ({str(number): 0 for number in range(count)} for count in (1_000, 1_001))
    assert parse_body(orjson.dumps(few)) == few
    assert parse_body(orjson.dumps({"metadata": many})) == {"metadata": many}
    with pytest.raises(BadBody, match=r"^the request body must have at most 1,000 fields$"):
        parse_body(orjson.dumps(many))


def test_in_a_large_body_a_name_that_is_twice_is_refused_unnamed() -> None:
    """To find out which one it is would take a second per megabyte."""
    with pytest.raises(BadBody, match=r"^a field stands twice in one object of the request body: ") as caught:
        parse_body(b'{"a":1,"a":2,"b":"' + b"x" * 1024 * 1024 + b'"}')
    assert caught.value.param is None
