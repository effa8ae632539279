"""Promises of `ratelimit.web.keys.store`: keys are added and revoked, and nothing is lost or shown."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit import ConfigError, Limit, Plan, PlanRegistry
from ratelimit.web.keys import new_key, reading, store
from ratelimit.web.keys.digest import VARIABLE, KeyDigester, secret_bytes
from ratelimit.web.keys.models import KeyEntry
from ratelimit.web.keys.store import KeyStore

ROOT = Path(__file__).parents[2]
CANARY = "sk-live-CANARY-7f3a9"
"""Stands for a secret."""
SUFFIXES = ("toml", "json")
PLANS = PlanRegistry().names

each_format = pytest.mark.parametrize("suffix", SUFFIXES)


@pytest.fixture(autouse=True)
def _no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def written(file: Path) -> dict[str, Any]:
    text = file.read_text(encoding="utf-8")
    body: dict[str, Any] = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    return body


@each_format
def test_what_is_added_stands_in_the_file(tmp_path: Path, suffix: str) -> None:
    """Every field is there, the key is not; both formats hold the same."""
    file = tmp_path / f"keys.{suffix}"
    before = datetime.now(UTC).replace(microsecond=0)
    issued = KeyStore(file).add("pro", subject="alice", organisation="acme", organisation_plan="max 5x", note='a "b" é')
    (entry,) = KeyStore(file).entries()
    assert entry == issued.entry
    assert (entry.subject, entry.plan, entry.organisation) == ("alice", "Pro", "acme")
    assert (entry.organisation_plan, entry.note) == ("MAX 5X", 'a "b" é')
    assert entry.created is not None
    assert before <= entry.created <= datetime.now(UTC)
    body = written(file)
    assert list(body) == ["version", "salt", "check", "keys"]
    assert list(body["keys"][0]) == list(KeyEntry.known_keys)
    assert issued.key not in file.read_text()


def test_the_subject_is_the_id_unless_given(file: Path) -> None:
    """A key is its own subject, under its public name."""
    entry = KeyStore(file).add("Lite").entry
    assert entry.subject == entry.id
    assert entry.id.startswith("k_")


@pytest.mark.parametrize("name", ["keys.yaml", "keys", "keys.toml.bak"])
def test_only_toml_and_json_are_keys_files(name: str) -> None:
    """The suffix decides, as for plans; YAML would need a writer."""
    with pytest.raises(ConfigError, match=rf"^{name}: suffix '[.a-z]*': a keys file must be one of .toml, .json$"):
        KeyStore(name)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, a directory, or too large."""
    file = tmp_path / "keys.toml"
    with pytest.raises(ConfigError, match=r"keys.toml: cannot be read: No such file or directory$"):
        KeyStore(file).entries()
    with pytest.raises(ConfigError, match=r"keys.toml: cannot be read: No such file or directory$"):
        KeyStore(file).revoke("k_1")
    file.mkdir()
    with pytest.raises(ConfigError, match=r"keys.toml: cannot be read: Is a directory$"):
        KeyStore(file).add("Pro")
    file.rmdir()
    monkeypatch.setattr(reading, "FILE_MAX_BYTES", 10)
    file.write_text("#" * 11)
    with pytest.raises(ConfigError, match=r"keys.toml: larger than 10 bytes: a keys file must be at most 64 MiB$"):
        KeyStore(file).entries()


def test_a_key_is_long_random_and_plain() -> None:
    """256 bits in letters and digits behind a prefix that says whose key it is."""
    made = {new_key() for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(len(key) == 49 and key.startswith("sk-rl-") and key[6:].isalnum() and key.isascii() for key in made)
    assert len({letter for key in made for letter in key[6:]}) == 62


@settings(max_examples=15)
@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=8), suffix=st.sampled_from(SUFFIXES))
def test_adding_and_revoking_keep_all_others(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, int]], suffix: str
) -> None:
    """Whatever is done, the file holds exactly what was added and not revoked, unchanged and in order."""
    keys = KeyStore(tmp_path_factory.mktemp("keys") / f"keys.{suffix}")
    expected = [keys.add("Pro").entry]
    for adds, number in steps:
        if adds or not expected:
            expected.append(keys.add(PLANS[number % 4], subject=f"s{number}").entry)
        else:
            gone = expected.pop(number % len(expected))
            assert keys.revoke(gone.id) == gone
        assert keys.entries() == tuple(expected)


def test_an_id_is_not_given_twice(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new id that is taken is thrown away."""
    ids = iter(["k_1", "k_1", "k_1", "k_2"])
    monkeypatch.setattr(store, "new_id", lambda: next(ids))
    assert [KeyStore(file).add("Pro").entry.id for _ in range(2)] == ["k_1", "k_2"]


def test_an_unknown_id_changes_nothing_and_is_not_shown(file: Path) -> None:
    """It may be the key itself."""
    issued = KeyStore(file).add("Pro")
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=r"no key has this id; `ratelimit keys list` shows the ids$") as caught:
        KeyStore(file).revoke(issued.key)
    assert issued.key not in str(caught.value)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"plan": "Prp"}, r"plan 'Prp': no such plan; did you mean 'Pro'\? known: "),
        ({"plan": "Pro", "organisation": "new"}, r"organisation 'new': is new in .*keys.toml: say which plan it has$"),
        ({"plan": "Pro", "organisation": "new", "organisation_plan": "Gold"}, "plan 'Gold': no such plan"),
        (
            {"plan": "Pro", "organisation_plan": "Pro"},
            "organisation = None: is required with organisation_plan; give both or neither$",
        ),
        (
            {"plan": "Pro", "organisation": "acme", "organisation_plan": "Lite"},
            "organisation 'acme': has plan 'MAX 5X' in ",
        ),
        ({"plan": "Pro", "subject": " x"}, "subject = <hidden>: must not begin or end with a space$"),
        ({"plan": "Pro", "note": "\x1b[2J"}, "note = <hidden>: must be text of 1 to 256 printable characters$"),
    ],
)
def test_what_cannot_be_added_changes_nothing(file: Path, arguments: dict[str, str], error: str) -> None:
    """The file is as it was, to the byte."""
    KeyStore(file).add("Lite", organisation="acme", organisation_plan="MAX 5X")
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=f"^{error}"):
        KeyStore(file).add(**arguments)
    assert file.read_bytes() == before


def test_an_organisation_that_is_known_needs_no_plan(file: Path) -> None:
    """It has the one that stands in the file; to name it again, in any spelling, is no mistake."""
    keys = KeyStore(file)
    keys.add("Lite", organisation="acme", organisation_plan="MAX 5X")
    keys.add("Lite", organisation="acme")
    keys.add("Lite", organisation="acme", organisation_plan="max-5x")
    assert {entry.organisation_plan for entry in keys.entries()} == {"MAX 5X"}


def test_plans_of_ones_own_can_be_named(file: Path) -> None:
    """The registry decides which plans there are."""
    plans = PlanRegistry([Plan("Team", limits=[Limit("requests", rate="5/minute")])])
    assert KeyStore(file, plans=plans).add("team").entry.plan == "Team"
    with pytest.raises(ConfigError, match="no such plan"):
        KeyStore(file, plans=plans).add("Pro")


# Secrets


def test_keys_under_one_secret_are_added_under_no_other(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key added under another secret would work nowhere. To list and to revoke needs no secret."""
    entry = KeyStore(file, secret="one").add("Pro").entry
    for wrong in ("two", b"", None):
        with pytest.raises(
            ConfigError, match=f"check: the keys were made with another secret or salt: set {VARIABLE} to"
        ):
            KeyStore(file, secret=wrong).add("Pro")
    monkeypatch.setenv(VARIABLE, "one")
    KeyStore(file).add("Pro")
    monkeypatch.setenv(VARIABLE, "two")
    assert len(KeyStore(file).entries()) == 2
    assert KeyStore(file).revoke(entry.id) == entry


def test_a_secret_is_text_or_bytes_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text and its UTF-8 are the same secret; an unset or empty variable is none."""
    assert secret_bytes("é") == secret_bytes("é".encode()) == b"\xc3\xa9"
    assert secret_bytes(None) == secret_bytes("") == b""
    monkeypatch.setenv(VARIABLE, "from outside")
    assert secret_bytes(None) == b"from outside"
    assert secret_bytes(b"") == b""
    number: Any = 6_172_839
    with pytest.raises(ConfigError, match=f"^secret is int: must be text or bytes, or None for {VARIABLE}$"):
        secret_bytes(number)


@given(st.text(max_size=30), st.binary(max_size=80), st.binary(min_size=32, max_size=32))
def test_digests_depend_on_key_salt_and_secret(key: str, secret: bytes, salt: bytes) -> None:
    """The same three give the same digest; another one of any of them another, and none is contained in it."""
    digest = KeyDigester(salt, secret)
    assert digest(key) == KeyDigester(salt, secret)(key)
    assert len({digest(key), digest(f"{key}x"), KeyDigester(salt, secret + b"x")(key)}) == 3
    assert digest(key) != KeyDigester(bytes(byte ^ 1 for byte in salt), secret)(key)
    assert digest.check not in digest(key)


# The file system


def test_a_new_file_is_its_owners_only(file: Path) -> None:
    """Mode 0600, whatever the umask."""
    old = os.umask(0)
    try:
        KeyStore(file).add("Pro")
    finally:
        os.umask(old)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_keeps_its_mode_and_its_place_behind_a_link(tmp_path: Path) -> None:
    """An administrator's change must not lock the gateway out, nor put a file where a link was."""
    real, link = tmp_path / "real.toml", tmp_path / "keys.toml"
    KeyStore(real).add("Pro")
    real.chmod(0o640)
    link.symlink_to(real)
    KeyStore(link).add("Pro")
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert len(KeyStore(real).entries()) == 2


def test_an_owner_that_cannot_be_kept_is_an_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway could no longer read a file that became somebody else's."""
    KeyStore(file).add("Pro")
    before = file.read_bytes()
    theirs = os.stat_result((0o100600, 1, 1, 1, 4_242, 4_242, len(before), 0, 0, 0))
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **_: theirs if Path(path) == file else real(path))

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(ConfigError, match=r"keys.toml: cannot be written: Operation not permitted$"):
        KeyStore(file).add("Pro")
    monkeypatch.undo()
    assert file.read_bytes() == before
    assert sorted(path.name for path in file.parent.iterdir()) == ["keys.toml", "keys.toml.lock"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """A full disk in the middle: the old file stands, and no litter beside it."""
    KeyStore(file).add("Pro")
    before = file.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(ConfigError, match=r"keys.toml: cannot be written: No space left on device$"):
        KeyStore(file).add("Pro")
    assert file.read_bytes() == before
    assert sorted(path.name for path in file.parent.iterdir()) == ["keys.toml", "keys.toml.lock"]


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    """It is not made: that would hide a typing mistake."""
    with pytest.raises(ConfigError, match=r"keys.toml: its directory is not there; make it first$"):
        KeyStore(tmp_path / "none" / "keys.toml").add("Pro")


def test_a_lock_that_is_not_given_up_is_an_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who hangs does not make everybody hang."""
    monkeypatch.setattr(store, "_LOCK_S", 0.0)
    keys = KeyStore(file)
    with keys._alone(), pytest.raises(ConfigError, match=r"keys.toml: still being changed by somebody else after 0 s$"):
        KeyStore(file).add("Pro")


def _race(add: Callable[[int], str], count: int) -> list[str]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(add, range(count)))


def test_threads_that_add_at_once_lose_nothing(file: Path) -> None:
    """Ten keys at once, the first of which makes the file, are ten keys."""
    ids = _race(lambda number: KeyStore(file).add("Pro", subject=f"s{number}").entry.id, 10)
    assert {entry.id for entry in KeyStore(file).entries()} == set(ids)
    assert len(set(ids)) == 10


_ADDS = """
import sys
from ratelimit.web.keys.store import KeyStore
for number in range(5):
    print(KeyStore(sys.argv[1]).add("Pro").entry.id)
"""


def test_processes_that_add_at_once_lose_nothing(file: Path) -> None:
    """Three processes, five keys each: fifteen keys."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def add(_: int) -> str:
        done = subprocess.run(
            [sys.executable, "-c", _ADDS, file], capture_output=True, text=True, env=environment, check=True
        )
        return done.stdout

    ids = "".join(_race(add, 3)).split()
    assert len(set(ids)) == 15
    assert {entry.id for entry in KeyStore(file).entries()} == set(ids)


def test_nothing_that_is_kept_or_shown_holds_the_key(file: Path) -> None:
    """Neither the files nor any repr."""
    keys = KeyStore(file, secret=CANARY)
    issued = keys.add("Pro", subject="alice")
    kept = b"".join(path.read_bytes() for path in file.parent.iterdir())
    document = reading.parse(file, file.read_bytes())
    shown = repr((keys, issued, issued.entry, document, keys._document(), KeyDigester(b"s" * 32, CANARY.encode())))
    shown += repr(reading.read(file)) + str(issued) + str(document)
    for part in (issued.key, issued.key.removeprefix("sk-rl-"), issued.key[-12:], CANARY):
        assert part.encode() not in kept
        assert part not in shown
    assert written(file)["keys"][0]["digest"] not in shown
