"""Undoes a response's Content-Encoding piece by piece, in bounded memory (RFC 9110, section 8.4)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Final, Protocol, TypeAlias

__all__ = ("PIECE_MAX_BYTES", "CodingError", "Decoder", "open_decoder")

PIECE_MAX_BYTES: Final = 64 * 1024
"""What a coding gives at once, or little more; only zstandard gives whole blocks, at the very worst 8 MiB of them."""

_CODINGS_MAX: Final = 3
"""Nobody stacks more; each one multiplies the work that a bomb can make."""
_OUTPUT_FREE: Final = 1024 * 1024
_RATIO_MAX: Final = 256
"""Output beyond the first MiB may be this many times the input. Event streams reach 50, zeros in gzip 1,029."""
_INPUT_PIECE: Final = 16 * 1024
_ZSTD_INPUT_PIECE: Final = 256
"""zstandard takes no output limit. A block is at least 4 bytes and at most 128 KiB: 64 of them fit in here."""
_ZSTD_WINDOW_MAX: Final = 8 * 1024 * 1024
"""The window that RFC 9659 lets a sender use."""

_Errors: TypeAlias = tuple[type[Exception], ...]


class CodingError(Exception):
    """The bytes are not in the coding that the header names, we do not know it, or they are a bomb."""


class Decoder(Protocol):
    """Gives the plain bytes of coded ones, as far as they are known, in pieces that fit in memory."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """What follows from these bytes.

        Raises:
            CodingError: nothing can be decoded from here on.
        """
        ...


def open_decoder(content_encoding: str) -> Decoder | None:
    """A decoder for the value of a Content-Encoding header; None where there is nothing to decode.

    Takes gzip, x-gzip, deflate (with or without zlib's header), br and zstd, and lists of them.

    Raises:
        CodingError: a coding that we do not know, whose package is not installed, or more than three at once.
    """
    names = [name for item in content_encoding.split(",") if (name := item.strip().lower()) not in ("", "identity")]
    if not names:
        return None
    if len(names) > _CODINGS_MAX:
        raise CodingError(f"content-encoding {content_encoding!r}: more than {_CODINGS_MAX} codings are not decoded")
    return _Stack([_codec(name) for name in reversed(names)])  # listed in the order in which they were applied


class _Codec(Protocol):
    """One coding: `decode` may raise any of `errors`."""

    @property
    def errors(self) -> _Errors: ...

    def decode(self, data: bytes) -> Iterator[bytes]: ...


class _Stack:
    """Codings one after another, each allowed so much output for the input that really came in."""

    __slots__ = ("_codecs", "_errors", "_given", "_received")

    def __init__(self, codecs: list[_Codec]) -> None:
        self._codecs = codecs
        self._errors = tuple(error for codec in codecs for error in codec.errors)
        self._received = 0
        self._given = [0] * len(codecs)

    def decode(self, data: bytes) -> Iterator[bytes]:
        self._received += len(data)
        try:
            yield from self._through(0, data)
        except self._errors as error:
            raise CodingError(f"not in the coding that content-encoding names: {error}") from error

    def _through(self, stage: int, data: bytes) -> Iterator[bytes]:
        if stage == len(self._codecs):
            yield data
            return
        for piece in self._codecs[stage].decode(data):
            self._given[stage] += len(piece)
            if self._given[stage] > _OUTPUT_FREE + _RATIO_MAX * self._received:
                raise CodingError(f"more than {_RATIO_MAX} times as large when decoded: not read any further")
            yield from self._through(stage + 1, piece)


class _Gzip:
    """gzip, of one or more members (RFC 1952, section 2.2). What follows the last one is ignored."""

    __slots__ = ("_ended", "_inflate", "errors")

    def __init__(self) -> None:
        self.errors: _Errors = (zlib.error,)
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._ended = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        for piece in _pieces(data, _INPUT_PIECE):
            while piece and not self._ended:
                if self._inflate.eof:
                    self._ended = piece[0] != 0x1F  # no further member begins here
                    self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
                    continue
                yield from _inflated(self._inflate, piece)
                piece = self._inflate.unused_data


class _Deflate:
    """zlib's format, as the RFC says, or the bare one, as some servers have it."""

    __slots__ = ("_head", "_inflate", "errors")

    def __init__(self) -> None:
        self.errors: _Errors = (zlib.error,)
        self._head = b""
        self._inflate: Any = None

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._inflate is None:
            data = self._head + data
            if len(data) < 2:
                self._head = data
                return
            # RFC 1950: the method is 8, and the two header bytes are a multiple of 31.
            zlib_header = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS)
        for piece in _pieces(data, _INPUT_PIECE):
            if not self._inflate.eof:
                yield from _inflated(self._inflate, piece)


class _Brotli:
    """brotli 1.2 or newer, or brotlicffi: earlier ones give a bomb's whole output at once."""

    __slots__ = ("_decompressor", "errors")

    def __init__(self) -> None:
        module = _first_module("br", "brotli>=1.2", ("brotli", "brotlicffi"))
        self._decompressor = module.Decompressor()
        if not hasattr(self._decompressor, "can_accept_more_data"):
            raise CodingError("content-encoding br needs a newer package: pip install 'brotli>=1.2'")
        self.errors: _Errors = (module.error,)

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._decompressor.is_finished():
            return
        piece = self._decompressor.process(data, output_buffer_limit=PIECE_MAX_BYTES)
        yield piece
        while not self._decompressor.is_finished() and self._has_more(piece):
            piece = self._decompressor.process(b"", output_buffer_limit=PIECE_MAX_BYTES)
            yield piece

    def _has_more(self, piece: bytes) -> bool:
        # A full piece may leave output behind although all input is taken.
        return len(piece) >= PIECE_MAX_BYTES or not self._decompressor.can_accept_more_data()


class _Zstd:
    """zstd, of one or more frames, by the stdlib's module or its backport."""

    __slots__ = ("_make", "_zstd", "errors")

    def __init__(self, module: Any) -> None:
        window = {module.DecompressionParameter.window_log_max: _ZSTD_WINDOW_MAX.bit_length() - 1}
        self._make: Callable[[], Any] = lambda: module.ZstdDecompressor(options=window)
        self._zstd = self._make()
        self.errors: _Errors = (module.ZstdError,)

    def decode(self, data: bytes) -> Iterator[bytes]:
        for piece in _pieces(data, _INPUT_PIECE):
            while piece or not self._zstd.needs_input:
                yield self._zstd.decompress(piece, PIECE_MAX_BYTES)
                piece = b""
                if self._zstd.eof:
                    piece = self._zstd.unused_data
                    self._zstd = self._make()


class _Zstandard:
    """zstd, of one or more frames, by the package `zstandard`."""

    __slots__ = ("_make", "_zstd", "errors")

    def __init__(self, module: Any) -> None:
        self._make: Callable[[], Any] = module.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX).decompressobj
        self._zstd = self._make()
        self.errors: _Errors = (module.ZstdError,)

    def decode(self, data: bytes) -> Iterator[bytes]:
        for piece in _pieces(data, _ZSTD_INPUT_PIECE):
            while piece:
                yield self._zstd.decompress(piece)
                piece = b""
                if self._zstd.eof:
                    piece = self._zstd.unused_data
                    self._zstd = self._make()


def _codec(name: str) -> _Codec:
    match name:
        case "gzip" | "x-gzip":
            return _Gzip()
        case "deflate":
            return _Deflate()
        case "br":
            return _Brotli()
        case "zstd":
            module = _first_module("zstd", "zstandard", ("compression.zstd", "backports.zstd", "zstandard"))
            return _Zstandard(module) if module.__name__ == "zstandard" else _Zstd(module)
    raise CodingError(f"content-encoding {name!r} is not known: gzip, deflate, br and zstd are")


def _first_module(coding: str, package: str, names: tuple[str, ...]) -> Any:
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    raise CodingError(f"content-encoding {coding} needs a package: pip install '{package}'")


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def _inflated(inflate: Any, data: bytes) -> Iterator[bytes]:
    """All output for `data`, in pieces of at most 64 KiB."""
    while True:
        piece = inflate.decompress(data, PIECE_MAX_BYTES)
        yield piece
        data = inflate.unconsumed_tail
        # A full piece may leave output behind although all input is taken.
        if inflate.eof or (not data and len(piece) < PIECE_MAX_BYTES):
            return
