"""Coded answers are metered as they stream, in bounded memory, and never fail."""

from __future__ import annotations

import gzip
import logging
import random
import sys
import types
import zlib
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.web.coding import CodingError, open_decoder
from ratelimit.web.meter import open_meter
from ratelimit.web.routes import Kind
from ratelimit.web.usage import Reading, Usage
from tests.web.streams import DONE, SSE, chunk, cut_at, read, splittings, usage_chunk

brotli: Any = import_module("brotli")  # it has no types
STREAM = [chunk(f"word {number}, ") for number in range(300)] + [usage_chunk(3, 4), DONE]
TOLD = Reading(Usage(3, 0, 0, 4), complete=True, text_bytes=0)


def _zlib(wbits: int) -> Callable[[Sequence[bytes]], list[bytes]]:
    def code(chunks: Sequence[bytes]) -> list[bytes]:
        coder = zlib.compressobj(wbits=wbits)
        return [coder.compress(part) + coder.flush(zlib.Z_SYNC_FLUSH) for part in chunks] + [coder.flush()]

    return code


def _brotli(chunks: Sequence[bytes]) -> list[bytes]:
    coder = brotli.Compressor(quality=3)
    return [coder.process(part) + coder.flush() for part in chunks] + [coder.finish()]


def _zstd(chunks: Sequence[bytes]) -> list[bytes]:
    coder = zstandard.ZstdCompressor().compressobj()
    block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
    return [coder.compress(part) + coder.flush(block) for part in chunks] + [coder.flush()]


CODERS: dict[str, Callable[[Sequence[bytes]], list[bytes]]] = {
    "gzip": _zlib(31),
    "x-gzip": _zlib(31),
    "deflate": _zlib(15),
    "Deflate": _zlib(-15),
    "br": _brotli,
    "zstd": _zstd,
    "gzip, br": lambda chunks: _brotli(_zlib(31)(chunks)),
    "zstd ,identity,GZIP": lambda chunks: _zlib(31)(_zstd(chunks)),
    "": list,
    "identity": list,
    "Identity, ": list,
}


def _decoded(coding: str, chunks: Sequence[bytes]) -> bytes:
    decoder = open_decoder(coding)
    assert decoder is not None
    return b"".join(piece for part in chunks for piece in decoder.decode(part))


def _held(meter: object) -> int:
    return int(getattr(meter, "held", 0))


@pytest.mark.parametrize("coding", CODERS)
def test_coded_streams_are_metered(coding: str) -> None:
    """Every coding and list of codings, in the chunks in which a server flushes them, whole, and byte by byte."""
    coded = CODERS[coding](STREAM)
    whole = b"".join(coded)
    for chunks in (coded, [whole], [whole[at : at + 1] for at in range(len(whole))]):
        assert read(Kind.CHAT, chunks, SSE, coding) == TOLD


@pytest.mark.parametrize("coding", CODERS)
def test_a_coded_stream_that_is_cut_has_told_what_came(coding: str) -> None:
    """What was flushed before the cut is counted: a chunk less, its text less."""
    coded = CODERS[coding](STREAM)
    text = sum(len(f"word {number}, ") for number in range(200))
    assert read(Kind.CHAT, coded[:200], SSE, coding) == Reading(None, complete=False, text_bytes=text)


@settings(deadline=None)
@given(data=st.binary(max_size=300), split=splittings(), coding=st.sampled_from([name for name in CODERS if name]))
def test_decoding_gives_what_was_coded(data: bytes, split: Callable[[bytes], list[bytes]], coding: str) -> None:
    """For any bytes at any splitting."""
    if "entity" in coding and "," not in coding.strip(", "):
        return
    assert _decoded(coding, split(b"".join(CODERS[coding]([data])))) == data


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, br"])
def test_large_answers_are_decoded_whole(coding: str) -> None:
    """Megabytes, also such as compress well, come out complete and in pieces."""
    data = random.Random(7).randbytes(200_000) + b"".join(STREAM) * 20
    coded = b"".join(CODERS[coding]([data]))
    decoder = open_decoder(coding)
    assert decoder is not None
    pieces = list(decoder.decode(coded))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 8 * 1024 * 1024


def test_several_members_and_frames_are_one_body() -> None:
    """gzip and zstd bodies may be concatenated; what follows a gzip body and is none is ignored."""
    members = gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two")
    frames = zstandard.compress(b"one ") + zstandard.compress(b"two")
    assert _decoded("gzip", [members + b"\0\0\0garbage"]) == b"one two"
    assert _decoded("gzip", [members[at : at + 1] for at in range(len(members))]) == b"one two"
    assert _decoded("zstd", [frames]) == b"one two"
    assert _decoded("zstd", [frames[at : at + 1] for at in range(len(frames))]) == b"one two"


def test_what_follows_the_end_is_no_output() -> None:
    """deflate and br know one body only."""
    for coding in ("deflate", "br"):
        coded = b"".join(CODERS[coding]([b"one"]))
        assert _decoded(coding, [coded, b"more", b""]) == b"one"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, br"])
def test_a_bomb_is_not_read_to_its_end(coding: str) -> None:
    """100 MB of zeros in 100 KB or less: decoding stops, little is held, and the answer is charged."""
    coded = b"".join(CODERS[coding]([bytes(100_000_000)]))
    meter = open_meter(Kind.CHAT, SSE, coding)
    for at in range(0, len(coded), 1000):
        meter.feed(coded[at : at + 1000])
        assert _held(meter) < 1_100_000
    assert meter.finish() == Reading(None, complete=False, text_bytes=len(coded), readable=False)
    decoder = open_decoder(coding)
    assert decoder is not None
    sizes: list[int] = []
    with pytest.raises(CodingError, match=r"not read any further$"):
        sizes.extend(map(len, decoder.decode(coded)))
    assert sum(sizes) <= 1024 * 1024 + 256 * len(coded)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, br"])
def test_broken_bytes_end_the_metering(coding: str) -> None:
    """Bytes that are not in the coding leave what came before, and the coded bytes count where that is more."""
    for broken in (
        [*CODERS[coding](STREAM)[:100], b"\xff" * 10_000],
        [b"".join(CODERS[coding](STREAM))[:200], b"\xff" * 10_000],
        [b"data: not coded\n\n", b"data: [DONE]\n\n"],
    ):
        reading = read(Kind.CHAT, broken, SSE, coding)
        assert reading.usage is None
        assert reading.text_bytes == sum(map(len, broken))


@settings(deadline=None)
@given(data=st.binary(max_size=200), coding=st.sampled_from(["gzip", "deflate", "br", "zstd", "gzip, zstd"]))
def test_no_bytes_break_a_meter(data: bytes, coding: str) -> None:
    """Random bytes under any coding never raise."""
    reading = read(Kind.CHAT, [data, data], "application/json", coding)
    assert reading.usage is None
    assert not reading.complete


@pytest.mark.parametrize("coding", ["nonsense", "gzip, nonsense", "gzip,gzip,gzip,gzip", "*", "gzip;q=1", "br zstd"])
def test_a_coding_that_we_do_not_know_is_charged_by_its_size(coding: str, caplog: pytest.LogCaptureFixture) -> None:
    """There is no more to see than the size; the log says so, once."""
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert read(Kind.CHAT, [b"12345", b"678"], SSE, coding) == Reading(
                None, complete=False, text_bytes=8, readable=False
            )
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) <= 1


@pytest.mark.parametrize(
    ("coding", "missing", "remedy"),
    [
        ("br", ["brotli", "brotlicffi"], r"br needs a package: pip install 'brotli>=1\.2'$"),
        ("zstd", ["compression.zstd", "backports.zstd", "zstandard"], "zstd needs a package: pip install 'zstandard'$"),
    ],
)
def test_a_missing_package_is_named(
    coding: str, missing: list[str], remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the package the coding is as good as unknown, and the message says what to install."""
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(CodingError, match=remedy):
        open_decoder(coding)


def test_an_old_brotli_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 1.2 it gives all output at once, however large."""
    old: Any = types.ModuleType("brotli")
    old.Decompressor = object
    monkeypatch.setitem(sys.modules, "brotli", old)
    with pytest.raises(CodingError, match=r"br needs a newer package: pip install 'brotli>=1\.2'$"):
        open_decoder("br")


@pytest.mark.parametrize(
    ("package", "hidden", "coding"),
    [
        ("brotlicffi", "brotli", "br"),
        ("backports.zstd", "zstandard", "zstd"),
        ("compression.zstd", "zstandard", "zstd"),
    ],
)
def test_other_packages_do_as_well(package: str, hidden: str, coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the other package coded is decoded by this one: pieces, cuts, bombs."""
    pytest.importorskip(package)
    coded = CODERS[coding](STREAM)
    bomb = b"".join(CODERS[coding]([bytes(100_000_000)]))
    monkeypatch.setitem(sys.modules, hidden, None)
    whole = b"".join(coded)
    assert read(Kind.CHAT, coded, SSE, coding) == TOLD
    assert _decoded(coding, cut_at(whole, range(0, len(whole), 7))) == b"".join(STREAM)
    assert read(Kind.CHAT, [bomb], SSE, coding) == Reading(None, complete=False, text_bytes=len(bomb), readable=False)
    assert read(Kind.CHAT, [b"\xff" * 50], SSE, coding).text_bytes == 50
    assert import_module(package)
