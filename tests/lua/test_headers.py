"""Every script says what it takes and answers, and Python sends and reads exactly that."""

from __future__ import annotations

import re
from pathlib import Path
from struct import calcsize

import pytest

import ratelimit
from ratelimit import Retention
from ratelimit.backends.base import Op
from ratelimit.backends.calls import Calls, ScriptCall
from ratelimit.backends.scripts import SCRIPT_NAMES, load_script
from ratelimit.core import wire
from ratelimit.core.wire_express import encode_reserve, encode_settle
from tests.core.holds import TAG, TWO, answered, layout
from tests.lua.headers import LUA, composed_body, read_header

OP = Op(b"12345678", 5)
WIDE_SCOPE = layout(*[(f"m{i}", 1, 86_400_000_000) for i in range(3)])
HOLDS = [
    answered([1, 1], [1, 1]),
    answered([1, 1, 1], [1, 1, 1], of=WIDE_SCOPE, key=TAG + "B" * 22),
]
COUNTS = [2, 3]
SETTLE = encode_settle(2, OP.id, OP.page, 1, 2, 3, 5, 7, 4, 6, 8)


def calls() -> dict[str, ScriptCall]:
    """Each verb, over a scope of two buckets and one of three where it takes several."""
    made = Calls(Retention().head)
    keys = [hold.key for hold in HOLDS]
    reserve, settle = made.reserve(HOLDS, OP), made.settle(HOLDS, [[1, 1], [1, 1, 1]], OP)
    return {
        "batch": made.batch([reserve, settle]),
        "express": made.express(OP.id, [(TAG, TWO, encode_reserve(1, 1, 1) + SETTLE, [f"{TAG}af"])]),
        "reserve": reserve,
        "settle": settle,
        "peek": made.peek(keys, OP.id),
        "reset": made.reset(keys, OP.id),
    }


def test_the_folder_holds_exactly_the_scripts_that_are_loaded() -> None:
    """A file that nobody loads, or a name without a file, is a mistake."""
    assert sorted(path.stem for path in LUA.glob("*.lua")) == sorted(SCRIPT_NAMES)
    parts = {f"lib/{path.name}" for path in (LUA / "lib").glob("*.lua")}
    used = {
        line.rpartition(":")[0]
        for name in SCRIPT_NAMES
        for virtual in (False, True)
        for line in load_script(name, virtual_clock=virtual).lines
    }
    assert used == parts | {f"{name}.lua" for name in SCRIPT_NAMES}


@pytest.mark.parametrize("name", SCRIPT_NAMES)
def test_a_header_opens_with_the_verb(name: str) -> None:
    """And one sentence about it."""
    assert re.fullmatch(rf"{name}: [^.]+[.,].*", read_header(name).summary)


@pytest.mark.parametrize("path", sorted((LUA / "lib").glob("*.lua")), ids=lambda path: path.stem)
def test_a_part_opens_with_what_it_is_for(path: Path) -> None:
    """A comment before any code."""
    assert path.read_text().startswith("--[[\n  ")


@pytest.mark.parametrize("name", SCRIPT_NAMES)
def test_the_errors_of_the_header_are_those_of_the_body(name: str) -> None:
    """No more and no fewer; those of the virtual clock are not in service."""
    body = composed_body(load_script(name).text)
    assert set(re.findall(r"RL_[A-Z]+", body)) == read_header(name).errors


@pytest.mark.parametrize("name", ["reserve", "settle"])
def test_keys_are_the_first_state_the_page_and_the_other_states(name: str) -> None:
    """As the header says."""
    assert (
        read_header(name).fields["KEYS"] == "1 state of scope 1 · 2 page of the operation log · 3.. state of scope 2.."
    )
    assert list(calls()[name].keys) == [TAG, f"{TAG}af", TAG + "B" * 22]


@pytest.mark.parametrize("name", ["peek", "reset"])
def test_keys_are_the_states(name: str) -> None:
    """As the header says."""
    assert read_header(name).fields["KEYS"] == "1.. state of each scope"
    assert list(calls()[name].keys) == [TAG, TAG + "B" * 22]


@pytest.mark.parametrize("name", SCRIPT_NAMES)
def test_the_first_argument_is_the_op_id(name: str) -> None:
    """Eight bytes, which open the reply."""
    header = read_header(name)
    assert header.fields["ARGV"].startswith("1 op-id (8 bytes)")
    assert header.fields["REPLY"].startswith("op-id · ")
    assert calls()[name].args[0] == OP.id
    assert len(OP.id) == wire.OP_BYTES == 8


@pytest.mark.parametrize("name", ["peek", "reset"])
def test_looking_and_forgetting_take_nothing_else(name: str) -> None:
    """One argument."""
    assert "·" not in read_header(name).fields["ARGV"]
    assert len(calls()[name].args) == 1


@pytest.mark.parametrize("name", ["reserve", "settle"])
def test_the_second_argument_is_the_head(name: str) -> None:
    """Version, page, lifetime of a page, skew, length of a page, in the widths that the header gives."""
    header = read_header(name)
    head = re.search(r"2 head \(([^)]*)\)", header.fields["ARGV"])
    assert head
    assert head[1] == "version B, page I2, page_ttl_ms I4, skew_us I4, page_s B"
    assert header.widths(head[1]) == calcsize(wire._HEAD.format) == len(calls()[name].args[1])
    assert f"#head ~= {header.widths(head[1])}" in load_script(name).text


@pytest.mark.parametrize("name", ["reserve", "settle"])
def test_the_terms_are_as_wide_as_the_header_says(name: str) -> None:
    """Per scope a layout, then fixed numbers and numbers per bucket."""
    header = read_header(name)
    terms = re.search(r"per scope: layout \(specs\), terms \((.*) per bucket\)", header.fields["ARGV"])
    assert terms
    fixed, _, each = terms[1].rpartition("then ")
    args = calls()[name].args
    assert len(args) == 2 + 2 * len(HOLDS)
    widths = [header.widths(fixed) + count * header.widths(each) for count in COUNTS]
    assert [len(arg) for arg in args[3::2]] == widths
    assert [bytes(arg) for arg in args[2::2]] == [wire.encode_layout(TWO), wire.encode_layout(WIDE_SCOPE)]


def test_a_batch_is_its_operations_behind_a_plan() -> None:
    """Verb, number of keys and number of arguments of each; then all keys, and all arguments, in order."""
    header, made = read_header("batch"), calls()
    assert header.fields["KEYS"] == "1.. those of operation 1 · those of operation 2.."
    plan = re.search(r"2 plan \(([^)]*) per operation\) · 3..", header.fields["ARGV"])
    assert plan
    assert plan[1] == "verb B, keys B, arguments B"
    batch, reserve, settle = made["batch"], made["reserve"], made["settle"]
    assert "Verb 1 is reserve, 2 is settle." in load_script("batch").text
    assert batch.args[1] == bytes((1, len(reserve.keys), len(reserve.args), 2, len(settle.keys), len(settle.args)))
    assert len(batch.args[1]) == 2 * header.widths(plan[1])
    assert list(batch.keys) == [*reserve.keys, *settle.keys]
    assert list(batch.args[2:]) == [*reserve.args, *settle.args]


def test_a_batch_runs_the_very_scripts() -> None:
    """Every line of reserve.lua and settle.lua and of their parts is in it, and the clock only once."""
    lines = load_script("batch").lines
    for name in ("reserve", "settle"):
        assert set(load_script(name).lines) <= set(lines)
    assert len([line for line in lines if line == "lib/clock.lua:1"]) == 1


@pytest.mark.parametrize("width", [4, 7])
def test_python_reads_the_reserve_reply_of_the_header(width: int) -> None:
    """Verdict, time, and per scope epoch, time and two numbers per bucket, all narrow or all wide."""
    reply = read_header("reserve").fields["REPLY"]
    assert "verdict B" in reply
    fixed, _, rest = reply.partition(" · per scope: ")
    assert rest == "epoch c4, at_us I7, per bucket level and refunded (I4 each, I7 each when one of them needs it)"
    size = 8 + read_header("reserve").widths(fixed) + sum(4 + 7 + 2 * width * count for count in COUNTS)
    assert wire.decode_reserve(OP.id + b"\x01" + bytes(size - 9), OP.id, HOLDS) is True


def test_python_reads_the_settle_reply_of_the_header() -> None:
    """Verdict, time, and per scope a time and two numbers per bucket."""
    header = read_header("settle")
    fixed, _, rest = header.fields["REPLY"].partition(" · per scope: ")
    assert rest == "at_us I7, per bucket level I7 and credit I7"
    size = 8 + header.widths(fixed) + sum(7 + 14 * count for count in COUNTS)
    assert wire.decode_settle(OP.id + b"\x02" + bytes(size - 9), OP.id, HOLDS).repeated


def test_scripts_and_python_speak_one_version() -> None:
    """The version that the bodies compare with is the one that Python sends and writes into every key."""
    for name in ("reserve", "settle"):
        assert f"if version ~= {wire.WIRE_VERSION} then" in load_script(name).text


def test_python_holds_no_script() -> None:
    """One copy of each, in lua/: no Lua hides in a string of the package."""
    package = Path(ratelimit.__file__).parent
    assert [path for path in package.rglob("*.py") if "redis.call" in path.read_text()] == []
