"""Strategies for JSON as bytes: written in all the ways that the grammar allows, and in some that it does not."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from ratelimit.web.fields import COSTLY_FIELDS

__all__ = ("BODIES", "DAMAGED", "NAMES", "NUMBERS", "OBJECTS", "variants")

_SPACE = st.sampled_from(["", "", "", "", " ", "\n", "\t ", "\r\n"])
NAMES = st.one_of(
    st.sampled_from(sorted(COSTLY_FIELDS)),
    st.sampled_from(["role", "content", "type", "text", "include_usage", "temperature", "metadata", "arguments"]),
    st.text(max_size=4),
)
_INTEGERS = st.one_of(
    st.integers(-3, 300).map(str),
    st.integers(2**53 - 2, 2**53 + 2).map(str),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(
        ["-0", "0", "9007199254740993", "18446744073709551615", "18446744073709551616", "9" * 40, "9" * 400]
    ),
)
NUMBERS = st.one_of(
    _INTEGERS,
    # The grammar: an integer part, a fraction, an exponent.
    st.builds(
        "".join,
        st.tuples(
            st.sampled_from(["", "-"]),
            st.sampled_from(["0", "1", "12", "100", "4096"]),
            st.sampled_from(["", ".0", ".5", ".000", ".999999999999999999"]),
            st.sampled_from(["", "e0", "E2", "e+2", "e-2", "e400", "e-400", "E0", "e308"]),
        ),
    ),
    # And what some parsers take although it is not in it.
    st.sampled_from(["NaN", "Infinity", "-Infinity", "01", "+1", "1.", ".5", "0x10", "1_0", "1e", "-", "1d", "\u0661"]),
)
_SCALARS = st.one_of(NUMBERS, st.sampled_from(["true", "false", "null"]))


def _escaped(text: str) -> str:
    units = text.encode("utf-16-be")
    return "".join(f"\\u{unit:04X}" for (unit,) in struct.iter_unpack(">H", units))


_SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda text: json.dumps(text, ensure_ascii=False),
    json.dumps,
    lambda text: '"' + _escaped(text) + '"',
    lambda text: '"' + _escaped(text[:1]) + json.dumps(text[1:])[1:],
    lambda text: json.dumps(text).replace("/", "\\/").replace("_", "\\u005f"),
)


def _strings(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """String literals, with characters escaped that need not be."""
    return st.builds(lambda text, spell: spell(text), texts, st.sampled_from(_SPELLINGS))


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


def _objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Objects, now and then with a name twice."""
    member = st.tuples(_SPACE, _strings(NAMES), _SPACE, _SPACE, values, _SPACE).map(
        lambda part: f"{part[0]}{part[1]}{part[2]}:{part[3]}{part[4]}{part[5]}"
    )
    return st.lists(member, max_size=5).map(lambda members: "{" + ",".join(members) + "}")


def _containers(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(st.lists(values, max_size=4).map(lambda items: "[" + ", ".join(items) + "]"), _objects(values))


_VALUES = st.recursive(st.one_of(_SCALARS, _strings(_TEXTS)), _containers, max_leaves=12)
OBJECTS = st.tuples(_SPACE, _objects(_VALUES), _SPACE).map(
    lambda parts: "".join(parts).encode("utf-8", "surrogatepass")
)


_DEBRIS = (b'"', b"\\", b"{", b"}", b":", b",", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800", b"\0")


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """An object with a few bytes changed, taken out or put in."""
    raw = bytearray(draw(OBJECTS))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 2))] = draw(
            st.one_of(
                st.binary(max_size=2), st.sampled_from([b'"', b"\\", b"{", b"}", b":", b",", b"\xef\xbb\xbf", b"\0"])
            )
        )
    return bytes(raw)


DAMAGED = _damaged()


def variants(name: str) -> list[str]:
    """Other spellings that some parser takes for this name."""
    return [
        name.upper(),
        name.title(),
        name[0].upper() + name[1:],
        name.replace("_", "-").title(),
        name.replace("s", "\u017f").replace("k", "\u212a") if set(name) & set("sk") else name.upper(),
    ]


_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**6), st.floats(allow_nan=False, allow_infinity=False), _TEXTS
)
_ANYTHING: st.SearchStrategy[Any] = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=10,
)
_PARTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["text", "input_text", "image_url", "document", "tool_use", "file", "input_audio", "new"]
        )
    },
    optional={
        "text": st.one_of(_TEXTS, _ANYTHING),
        "image_url": st.one_of(st.just({"url": "data:image/png;base64,AAAA", "detail": "low"}), _ANYTHING),
        "source": st.one_of(st.just({"type": "text", "data": "plain"}), _ANYTHING),
        "content": _ANYTHING,
    },
)
_MESSAGES = st.fixed_dictionaries(
    {"role": st.one_of(st.sampled_from(["user", "assistant", "tool"]), _ANYTHING)},
    optional={"content": st.one_of(_TEXTS, st.lists(_PARTS, max_size=3), _ANYTHING), "tool_calls": _ANYTHING},
)
_IDS = st.integers(-(2**63), 2**64 - 1)
BODIES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"model": st.just("glm-5"), "max_tokens": st.integers(0, 10_000)},
    optional={
        "messages": st.one_of(st.lists(_MESSAGES, max_size=4), _ANYTHING),
        "prompt": st.one_of(
            _TEXTS, st.lists(st.integers(0, 10**5)), st.lists(st.lists(st.integers(-(2**63), 2**64 - 1))), _ANYTHING
        ),
        "input": st.one_of(_TEXTS, st.lists(_TEXTS), st.lists(_PARTS, max_size=3), _ANYTHING),
        "system": _ANYTHING,
        "tools": _ANYTHING,
        "stream": st.booleans(),
        "n": st.integers(0, 5),
        "documents": _ANYTHING,
    },
)
"""Bodies of about the right shape, with anything in any place."""
