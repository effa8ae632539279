"""Promises of `ratelimit.web.keys.ApiKeys`: what a change of the file does."""

from __future__ import annotations

import logging
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit import ConfigError, PlanRegistry
from ratelimit.web.identity import Identity
from ratelimit.web.keys import ApiKeys, api_keys, reading
from ratelimit.web.keys.digest import VARIABLE
from ratelimit.web.keys.store import Issued, KeyStore
from tests.web.heads import bearer


class Seconds:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    caplog.clear()
    return found


def test_a_change_is_seen_at_the_next_look(file: Path, clock: Seconds) -> None:
    """Not a moment before, so that a request costs no look at the file; at the first request after it."""
    store = KeyStore(file)
    old = store.add("Pro", subject="old")
    identify = ApiKeys(file, reload_every=2.0, clock=clock)
    new = store.add("Pro", subject="new")
    store.revoke(old.entry.id)
    clock.now += 1.999
    assert identify(bearer(old.key)) == Identity.of("old", "Pro")
    assert identify(bearer(new.key)) is None
    clock.now += 0.001
    assert identify(bearer(old.key)) is None
    assert identify(bearer(new.key)) == Identity.of("new", "Pro")


def test_between_looks_the_file_is_not_touched(file: Path, clock: Seconds, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look per interval, however many requests there are; an unchanged file is not read."""
    issued = KeyStore(file).add("Pro")
    os.utime(file, ns=(0, 0))
    identify = ApiKeys(file, clock=clock)
    looks: list[Path] = []
    real = reading.stamp_of

    def look(path: Path) -> reading.Stamp | None:
        looks.append(path)
        return real(path)

    monkeypatch.setattr(reading, "stamp_of", look)
    monkeypatch.setattr(reading, "read", lambda path: pytest.fail(f"{path} was read"))
    for _ in range(3):
        clock.now += 1.0
        for _ in range(10):
            assert identify(bearer(issued.key)) is not None
    assert looks == [file] * 3


def _becomes_a_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


BROKEN: dict[str, Callable[[Path], object]] = {
    "syntax": lambda file: file.write_text("version ="),
    "content": lambda file: file.write_text(file.read_text().replace('plan = "Pro"', 'plan = "Prp"')),
    "empty": lambda file: file.write_text(""),
    "secret": lambda file: file.write_text(file.read_text().replace("check = ", 'check = "AAAAAAAAAAAAAAAAAAAAAA" #')),
    "gone": Path.unlink,
    "directory": _becomes_a_directory,
}


@pytest.mark.parametrize("harm", BROKEN)
def test_a_broken_file_leaves_the_old_keys_in_force(
    file: Path, clock: Seconds, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    """One warning says what is wrong; when the file is right again, it counts again."""
    issued = KeyStore(file).add("Pro", subject="alice")
    right = file.read_bytes()
    identify = ApiKeys(file, plans=PlanRegistry(), clock=clock)
    BROKEN[harm](file)
    for _ in range(5):
        clock.now += 1.0
        assert identify(bearer(issued.key)) == Identity.of("alice", "Pro")
    (warning,) = warnings(caplog)
    assert warning.startswith(f"the 1 keys read before stay in force: {file}: ")
    if file.is_dir():
        file.rmdir()
    file.write_bytes(right.replace(b"alice", b"bob"))
    clock.now += 1.0
    assert identify(bearer(issued.key)) == Identity.of("bob", "Pro")
    assert warnings(caplog) == []


def test_every_change_to_another_broken_file_is_one_warning(
    file: Path, clock: Seconds, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever tries to repair it sees each time whether it worked, even if it fails in the same way."""
    KeyStore(file).add("Pro")
    identify = ApiKeys(file, clock=clock)
    for text in ("version = ", "version =  ", "version ="):
        file.write_text(text)
        for _ in range(3):
            clock.now += 1.0
            identify(bearer("x"))
        assert len(warnings(caplog)) == 1
    for _ in range(2):
        file.unlink()
        for _ in range(3):
            clock.now += 1.0
            identify(bearer("x"))
        assert len(warnings(caplog)) == 1
        file.write_text("version =")
        clock.now += 1.0
        identify(bearer("x"))
        warnings(caplog)


def test_a_file_that_comes_and_goes_is_missed_each_time(
    file: Path, clock: Seconds, caplog: pytest.LogCaptureFixture
) -> None:
    """Moved away and back, it is the same file with the same stamp; that it was back is noticed all the same."""
    KeyStore(file).add("Pro")
    os.utime(file, ns=(0, 0))
    identify = ApiKeys(file, clock=clock)
    for _ in range(2):
        for source, target in ((file, file.with_suffix(".away")), (file.with_suffix(".away"), file)):
            source.rename(target)
            clock.now += 1.0
            identify(bearer("x"))
        assert len(warnings(caplog)) == 1


def test_a_change_right_after_the_reading_is_not_missed(
    file: Path, clock: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writes within one tick of the file system's clock can leave time, size and inode as they were."""
    monkeypatch.setattr(reading, "_SETTLED_NS", 2**62)
    issued = KeyStore(file).add("Pro", subject="alice")
    before = file.stat()
    identify = ApiKeys(file, clock=clock)
    with file.open("r+b") as stream:
        text = stream.read()
        stream.seek(0)
        stream.write(text.replace(b"alice", b"malic"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert reading.stamp_of(file) == reading._stamp(before)
    clock.now += 1.0
    assert identify(bearer(issued.key)) == Identity.of("malic", "Pro")


def test_an_unreadable_file_is_read_once_it_can_be(
    file: Path, clock: Seconds, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A change of rights leaves the time of a file alone; the next look tries again nevertheless."""
    issued = KeyStore(file).add("Pro", subject="alice")
    identify = ApiKeys(file, clock=clock)
    file.write_bytes(file.read_bytes().replace(b"alice", b"carol"))

    def refuse(path: Path) -> reading.Source:
        raise ConfigError(f"{path}: cannot be read: Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(reading, "read", refuse)
        for _ in range(3):
            clock.now += 1.0
            assert identify(bearer(issued.key)) == Identity.of("alice", "Pro")
    assert len(warnings(caplog)) == 1
    clock.now += 1.0
    assert identify(bearer(issued.key)) == Identity.of("carol", "Pro")


def test_reload_reads_at_once_and_says_what_is_wrong(file: Path, clock: Seconds) -> None:
    """For a signal handler or an admin's button: no waiting, and the error comes back every time."""
    store = KeyStore(file)
    old = store.add("Pro", subject="old")
    identify = ApiKeys(file, clock=clock)
    new = store.add("Pro", subject="new")
    identify.reload()
    assert identify(bearer(new.key)) == Identity.of("new", "Pro")
    file.write_text("version = 2\n")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"keys.toml: version = 2: must be 1"):
            identify.reload()
    assert identify(bearer(old.key)) == Identity.of("old", "Pro")


def _join_readers() -> None:
    for thread in threading.enumerate():
        if thread.name == "ratelimit-keys":
            thread.join()


def test_a_large_file_is_read_in_a_thread(
    file: Path, clock: Seconds, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The request that notices the change does not wait for it, and neither does the event loop."""
    monkeypatch.setattr(api_keys, "_AT_ONCE_BYTES", 0)
    old = KeyStore(file).add("Pro", subject="old")
    identify = ApiKeys(file, clock=clock)
    new = KeyStore(file).add("Pro", subject="new")
    go, real = threading.Event(), reading.read

    def wait_and_read(path: Path) -> reading.Source:
        assert go.wait(60)
        return real(path)

    monkeypatch.setattr(reading, "read", wait_and_read)
    for _ in range(3):  # while one thread reads, no other is started
        clock.now += 1.0
        assert identify(bearer(old.key)) == Identity.of("old", "Pro")
        assert identify(bearer(new.key)) is None
        assert [thread.name for thread in threading.enumerate()].count("ratelimit-keys") == 1
    go.set()
    _join_readers()
    assert identify(bearer(new.key)) == Identity.of("new", "Pro")
    file.write_text("version =")
    clock.now += 1.0
    identify(bearer(new.key))
    _join_readers()
    assert len(warnings(caplog)) == 1


def test_without_a_thread_to_be_had_the_file_is_read_all_the_same(
    file: Path, clock: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow is better than never."""
    monkeypatch.setattr(api_keys, "_AT_ONCE_BYTES", 0)
    KeyStore(file).add("Pro")
    identify = ApiKeys(file, clock=clock)
    new = KeyStore(file).add("Pro", subject="new")

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    clock.now += 1.0
    assert identify(bearer(new.key)) == Identity.of("new", "Pro")


def test_a_fork_during_a_reading_does_not_stop_the_child(
    file: Path, clock: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that another thread holds at a fork stays locked in the child, which needs one of its own."""
    KeyStore(file).add("Pro")
    identify = ApiKeys(file, clock=clock)
    new = KeyStore(file).add("Pro", subject="new")
    with identify._own_lock():
        clock.now += 1.0
        assert identify(bearer(new.key)) is None
        child = os.getpid() + 1
        monkeypatch.setattr(os, "getpid", lambda: child)
        clock.now += 1.0
        assert identify(bearer(new.key)) == Identity.of("new", "Pro")


@settings(max_examples=20)
@given(st.lists(st.tuples(st.sampled_from(["add", "revoke", "break", "mend", "wait"]), st.integers(0, 3)), max_size=12))
def test_after_a_look_the_keys_are_those_of_the_last_right_file(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """Whatever is added, revoked, broken and mended in whatever order."""
    file, clock = tmp_path_factory.mktemp("keys") / "keys.json", Seconds()
    store = KeyStore(file)
    issued: list[Issued] = [store.add("Pro")]
    identify = ApiKeys(file, clock=clock)
    in_force = {issued[0].key}
    valid, right = set(in_force), file.read_bytes()
    for step, number in steps:
        if step == "break":
            file.write_bytes(right[: len(right) - 3 - number])
        elif step == "mend":
            file.write_bytes(right)
        elif step == "wait":
            clock.now += 1.0
            in_force = set(valid) if file.read_bytes() == right else in_force
        else:
            file.write_bytes(right)
            if step == "add" or not valid:
                issued.append(store.add("Lite"))
                valid.add(issued[-1].key)
            else:
                gone = [one for one in issued if one.key in valid][number % len(valid)]
                store.revoke(gone.entry.id)
                valid.remove(gone.key)
            right = file.read_bytes()
        assert {one.key for one in issued if identify(bearer(one.key)) is not None} == in_force


def test_threads_identify_while_the_file_changes(file: Path) -> None:
    """A key that stays is known to every thread at every moment."""
    store = KeyStore(file)
    stays = store.add("Pro", subject="stays")
    identify = ApiKeys(file, reload_every=0.0)
    unknown: list[int] = []

    def ask(number: int) -> None:
        unknown.extend(number for _ in range(200) if identify(bearer(stays.key)) != Identity.of("stays", "Pro"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        store.revoke(store.add("Pro").entry.id)
    for thread in threads:
        thread.join()
    assert unknown == []


def test_nothing_shows_a_key_or_a_secret(file: Path, clock: Seconds, caplog: pytest.LogCaptureFixture) -> None:
    """No log line at any level, no repr, and no pickle."""
    caplog.set_level(logging.DEBUG)
    issued = KeyStore(file, secret="pepper").add("Pro")
    identify = ApiKeys(file, secret="pepper", clock=clock)
    request = bearer(issued.key)
    identity = identify(request)
    file.write_text(file.read_text() + f'key = "{issued.key}"\n')
    clock.now += 1.0
    assert identify(request) == identity
    assert repr(identify) == f"<ApiKeys {file}: 1 keys>"
    shown = "\n".join([caplog.text, repr(identity), repr(request), repr(identify), repr(identify._table)])
    assert "stay in force" in shown
    for part in (issued.key, issued.key[-12:], "pepper"):
        assert part not in shown
    for holder in (identify, identify._table):
        with pytest.raises(TypeError):
            pickle.dumps(holder)
