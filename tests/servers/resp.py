"""As much of the Redis protocol (RESP2 and RESP3) as the harness needs: frame boundaries, and one call."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import TypeAlias, cast

import hiredis

__all__ = ("Command", "Reply", "call", "frame_end", "pack", "parse_command", "rows", "words")

Command: TypeAlias = tuple[bytes, ...]
Reply: TypeAlias = "str | int | list[Reply] | None"

_BULK = b"$!="  # bulk string, bulk error, verbatim string: a length, then that many bytes
_AGGREGATE = b"*~>%|"  # array, set, push, map, attribute: a count, then that many (map, attribute: twice) elements


def frame_end(data: bytes | bytearray) -> int:
    """Return where the first complete frame of *data* ends, or 0 when it is not complete yet.

    A frame is a request (an array of bulk strings or an inline command), or a reply together with its attribute.
    """
    position, missing = 0, 1
    while missing:
        line_end = data.find(b"\r\n", position)
        if line_end < 0:
            return 0
        kind, body = data[position : position + 1], data[position + 1 : line_end]
        position, missing = line_end + 2, missing - 1
        if kind in _BULK and body != b"-1":
            position += int(body) + 2
        elif kind in _AGGREGATE:
            missing += _elements(kind, int(body))
        if position > len(data):
            return 0
    return position


def _elements(kind: bytes | bytearray, count: int) -> int:
    if kind == b"%":
        return 2 * count
    if kind == b"|":
        return 2 * count + 1  # an attribute comes before the reply it belongs to
    return max(count, 0)  # a null array has the count -1


def parse_command(frame: bytes) -> Command:
    """Split a complete request into its words; an empty line has none."""
    if not frame.startswith(b"*"):
        return tuple(frame.split())
    parts, position = [], frame.index(b"\r\n") + 2
    while position < len(frame):
        line_end = frame.index(b"\r\n", position)
        start, length = line_end + 2, int(frame[position + 1 : line_end])
        parts.append(frame[start : start + length])
        position = start + length + 2
    return tuple(parts)


def pack(command: Sequence[str | int]) -> bytes:
    """Encode a request."""
    encoded = [str(word).encode() for word in command]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)


def call(path: str, *command: str | int, timeout: float = 5.0) -> Reply:
    """Send one command to the server at a unix socket and return its RESP2 reply unchanged; raise its error.

    A client library would add a handshake, retries and reply conversions that differ between its versions.
    """
    reader = hiredis.Reader(encoding="utf-8", errors="surrogateescape")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(path)
        connection.sendall(pack(command))
        while (reply := reader.gets()) is False:
            data = connection.recv(65536)
            if not data:
                raise ConnectionError(f"{path} closed the connection after {command!r}")
            reader.feed(data)
    if isinstance(reply, Exception):
        raise reply
    return cast("Reply", reply)


def words(reply: Reply) -> list[str]:
    """Read a reply as a list of strings."""
    if not isinstance(reply, list):
        raise TypeError(f"not an array reply: {reply!r}")
    return [str(word) for word in reply]


def rows(reply: Reply) -> list[dict[str, str]]:
    """Read a reply as a list of flat field-value lists."""
    if not isinstance(reply, list):
        raise TypeError(f"not an array reply: {reply!r}")
    flat = [words(row) for row in reply]
    return [dict(zip(row[::2], row[1::2], strict=True)) for row in flat]
