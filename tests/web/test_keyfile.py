"""Promises of a keys file: what may stand in it, and what its errors show."""

from __future__ import annotations

import json
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit import ConfigError, PlanRegistry
from ratelimit.web.keys import reading, writing
from ratelimit.web.keys.digest import KeyDigester
from ratelimit.web.keys.mint import new_id, new_salt
from ratelimit.web.keys.models import KeyEntry, KeysDocument

CANARY = "sk-live-CANARY-7f3a9"
"""Stands for an API key that somebody put where it does not belong."""
SUFFIXES = ("toml", "json")
PLANS = PlanRegistry().names

WORD = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)
TEXT = st.lists(WORD, min_size=1, max_size=2).map(" ".join)
"""Printable, without a space at either end. Made, not filtered: most random text is not printable."""

each_format = pytest.mark.parametrize("suffix", SUFFIXES)


def a_document(*entries: dict[str, Any], **fields: Any) -> str:
    """A keys file as JSON, right but for what is given."""
    digester = KeyDigester(b"s" * 32, b"")
    right = {"id": "k_1", "digest": "A" * 43, "plan": "Pro"}
    empty = KeysDocument(version=1, salt=b"s" * 32, check=digester.check).written()
    return json.dumps({**empty, "keys": [right | entry for entry in entries], **fields})


@each_format
@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(PLANS), st.none() | TEXT, st.none() | TEXT, st.none() | TEXT, st.none() | st.datetimes()
        ),
        max_size=4,
    )
)
def test_a_file_is_read_as_it_was_written(
    suffix: str, rows: list[tuple[str, str | None, str | None, str | None, Any]]
) -> None:
    """Any document that can be made survives the way through a file."""
    entries = []
    for at, (plan, subject, organisation, note, created) in enumerate(rows):
        fields = {
            "id": new_id(),
            "digest": bytes([at]) * 32,
            "plan": plan,
            "subject": subject and f"{subject}'s",
            "organisation": organisation,
            "organisation_plan": organisation and "Pro",
            "note": note,
            "created": created and created.replace(tzinfo=UTC),
        }
        entries.append(KeyEntry.build({key: value for key, value in fields.items() if value is not None}, at=""))
    document = KeysDocument(version=1, salt=new_salt(), check=b"c" * 16, keys=tuple(entries))
    file = Path(f"keys.{suffix}")
    text = writing._WRITERS[file.suffix](document.written())
    assert reading.parse(file, text.encode()) == document


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ({"key": CANARY}, "keys[0].key = <hidden>: unknown key; known are id, digest, subject, plan, organisation, "),
        ({CANARY: 1}, 'keys[0]."<hidden>" = <hidden>: unknown key; known are id, '),
        ({"digest": CANARY}, "keys[0].digest = <hidden>: must be 32 bytes in base64url without padding; "),
        ({"digest": 5}, "keys[0].digest = <hidden>: must be 32 bytes"),
        ({"digest": "!" * 43}, "keys[0].digest = <hidden>: must be 32 bytes"),
        ({"id": f"{CANARY}!"}, "keys[0].id = <hidden>: must be 1 to 64 of A-Z, a-z, 0-9, _ and -"),
        ({"id": None}, "keys[0].id = <hidden>: must be 1 to 64"),
        ({"subject": f"{CANARY} "}, "keys[0].subject = <hidden>: must not begin or end with a space"),
        ({"subject": CANARY * 20}, "keys[0].subject = <hidden>: must be text of 1 to 256 printable characters"),
        ({"subject": ""}, "keys[0].subject = <hidden>: must be text of 1 to 256"),
        ({"note": f"{CANARY}\n"}, "keys[0].note = <hidden>: must be text of 1 to 256"),
        ({"note": None}, "keys[0].note = <hidden>: must be text of 1 to 256"),
        ({"plan": 5}, "keys[0].plan = <hidden>: must be text of 1 to 64 printable characters"),
        ({"created": "yesterday"}, "keys[0].created = <hidden>: must be a date and time with a zone"),
        ({"created": "2026-11-25T09:30:00"}, "keys[0].created = <hidden>: must be a date and time with a"),
        (
            {"organisation": "acme"},
            "keys[0].organisation_plan = None: is required with organisation; give both or neither",
        ),
        ({"organisation_plan": "Pro"}, "keys[0].organisation = None: is required with organisation_plan; give both or"),
        (
            {"subject": "acme", "organisation": "acme", "organisation_plan": "Pro"},
            "keys[0].subject = <hidden>: is the organisation too, and one decision charges nobody twice; rename one",
        ),
    ],
)
def test_a_wrong_entry_is_named_and_its_values_are_not_shown(entry: dict[str, Any], error: str) -> None:
    """Path and rule, but no value that may be an API key in the wrong place."""
    with pytest.raises(ConfigError) as caught:
        reading.parse(Path("keys.json"), a_document(entry).encode())
    assert str(caught.value).startswith(f"keys.json: {error}")
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"version": 2}, "version = 2: must be 1, the version that this release reads and writes"),
        ({"version": True}, "version = <hidden>: must be 1"),
        ({"salt": CANARY}, "salt = <hidden>: must be 32 bytes in base64url"),
        ({"check": CANARY}, "check = <hidden>: must be 16 bytes in base64url"),
        ({"keys": CANARY}, "keys = <hidden>: must be a list of tables, [[keys]] in TOML"),
        ({"keys": [CANARY]}, "keys[0] = <hidden>: must be a table with the keys id, digest, "),
        ({CANARY: {"plan": "Pro"}}, '"<hidden>" = <hidden>: unknown key; known are version, salt, check, keys'),
    ],
)
def test_a_wrong_head_is_named(fields: dict[str, Any], error: str) -> None:
    """The same for what stands above the keys."""
    with pytest.raises(ConfigError) as caught:
        reading.parse(Path("keys.json"), a_document({}, **fields).encode())
    assert str(caught.value).startswith(f"keys.json: {error}")
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("missing", ["version", "salt", "check"])
def test_the_head_is_required(missing: str) -> None:
    """A file without salt would mean keys that nobody can check."""
    body = json.loads(a_document())
    del body[missing]
    with pytest.raises(ConfigError, match=f"^keys.json: {missing}: is required$"):
        reading.parse(Path("keys.json"), json.dumps(body).encode())


@pytest.mark.parametrize(
    ("twin", "error"),
    [
        ({"digest": "B" * 42 + "A"}, "keys[1] = 'k_1': keys[0] has this id too; each key needs its own"),
        ({"id": "k_2"}, "keys[1] = 'k_2': keys[0] has this digest too: it is the same key; keep one"),
        (
            {"id": "k_2", "digest": "B" * 42 + "A", "organisation_plan": "Lite"},
            "keys[1] = 'Lite': its organisation has plan 'max-5x' in keys[0], and an organisation has one plan",
        ),
    ],
)
def test_two_entries_that_contradict_are_refused(twin: dict[str, Any], error: str) -> None:
    """The second would silently win over the first."""
    first = {"organisation": "acme", "organisation_plan": "max-5x"}
    with pytest.raises(ConfigError) as caught:
        reading.parse(Path("keys.json"), a_document(first, {**first, "organisation_plan": "MAX 5X"} | twin).encode())
    assert str(caught.value) == f"keys.json: {error}"


@pytest.mark.parametrize(
    ("name", "raw", "error"),
    [
        ("k.toml", b"version = ", "not valid TOML: "),
        ("k.toml", f"[{CANARY}]\n[{CANARY}]\n".encode(), "not valid TOML: Cannot declare (<hidden>,) twice"),
        ("k.json", f'{{"a": "{CANARY}", "a": "{CANARY}"}}'.encode(), "key 'a' = <hidden>: given twice in one object"),
        ("k.json", f'{{"{CANARY}": 1, "{CANARY}": 2}}'.encode(), "key <hidden> = 2: given twice in one object"),
        (
            "k.json",
            f'{{"a": ["{CANARY} \'{CANARY}"], "a": {{"b": "{CANARY}\\"\'{CANARY}"}}}}'.encode(),
            "key 'a' = {'b': <hidden>}: given twice",
        ),
        (
            "k.json",
            f'{{"a": 1, "a": ["{CANARY * 3}", "{CANARY * 3}", "{CANARY}"]}}'.encode(),
            "key 'a' = [<hidden>, <hidden>",
        ),
        ("k.json", b"{'a': 1}", "not valid JSON: Expecting property name enclosed in double quotes: line 1 column 2"),
        ("k.json", b'{"a" 1}', "not valid JSON: Expecting ':' delimiter: line 1 column 6"),
        ("k.json", b"[]", "must be a table with the keys version, salt, check, keys"),
        ("k.json", b'{"a": NaN}', "value NaN: not a number that JSON knows"),
        ("k.json", b"\n\xff", "line 2: byte 0xff: must be UTF-8 text"),
    ],
)
def test_what_is_not_the_format_is_refused_without_showing_it(name: str, raw: bytes, error: str) -> None:
    """Errors of the parsers are passed on without what they quote."""
    with pytest.raises(ConfigError) as caught:
        reading.parse(Path(name), raw)
    assert str(caught.value).startswith(f"{name}: {error}")
    assert "CANARY" not in str(caught.value)


_LEAVES = st.sampled_from([CANARY, f"{CANARY}\n", CANARY * 9, [CANARY], {CANARY: CANARY}, None, 1, 1.5, True])


@given(
    st.dictionaries(st.sampled_from([*KeyEntry.known_keys, CANARY]), _LEAVES),
    st.dictionaries(st.sampled_from(["version", "salt", "check", CANARY]), _LEAVES, max_size=1),
)
def test_no_error_of_a_file_shows_a_key(entry: dict[str, Any], head: dict[str, Any]) -> None:
    """Whatever stands where: either the entry is right, or what is wrong is said without a value."""
    shown = ""
    try:
        reading.parse(Path("keys.json"), a_document(entry, **head).encode())
    except ConfigError as error:
        shown = str(error)
    assert "CANARY" not in shown


def test_the_subject_is_the_id_unless_given() -> None:
    """Also in a file that was written by hand."""
    assert reading.parse(Path("k.json"), a_document({"id": "k_2"}).encode()).keys[0].subject == "k_2"


def test_a_byte_order_mark_is_no_mistake() -> None:
    """Editors on Windows write one."""
    assert reading.parse(Path("k.json"), b"\xef\xbb\xbf" + a_document({}).encode()).keys[0].id == "k_1"
