"""The part of Redis' Lua library `struct` that our scripts use, in Python, for fakeredis, which has none.

Little-endian only: `<`, then any of `B` (one byte), `I<n>` (n bytes, unsigned), `c<n>` (n bytes as they are).
"""

from __future__ import annotations

import re
from typing import Any

import fakeredis

__all__ = ("pack", "server_with_struct", "unpack")

_FORMAT = re.compile(rb"<(?:B|I[1-8]|c[0-9]+)*")
_FIELD = re.compile(rb"(B|I|c)([0-9]*)")


def _fields(form: bytes) -> list[tuple[bytes, int]]:
    if not _FORMAT.fullmatch(form):
        raise ValueError(f"struct format {form!r} is not in the part that this stand-in knows")
    return [(kind, int(width or 1)) for kind, width in _FIELD.findall(form)]


def pack(form: bytes, *values: bytes | float) -> bytes:
    """As `struct.pack`; a number that does not fit loses its upper bytes, as in C."""
    return b"".join(_field(kind, width, value) for (kind, width), value in zip(_fields(form), values, strict=True))


def _field(kind: bytes, width: int, value: bytes | float) -> bytes:
    if kind == b"c":
        if not isinstance(value, bytes) or len(value) < width:
            raise ValueError(f"struct.pack needs at least {width} bytes")
        return value[:width]
    number = int(value)
    return (number & (1 << 8 * width) - 1).to_bytes(width, "little")


def unpack(form: bytes, data: bytes, position: float = 1) -> tuple[bytes | int, ...]:
    """As `struct.unpack`: the values, then the position after them."""
    start = int(position) - 1
    values: list[bytes | int] = []
    for kind, width in _fields(form):
        if start + width > len(data):
            raise ValueError("data string too short")
        raw = data[start : start + width]
        values.append(raw if kind == b"c" else int.from_bytes(raw, "little"))
        start += width
    return (*values, start + 1)


def server_with_struct() -> fakeredis.FakeServer:
    """A fake server whose scripts find `struct` among their globals."""
    server: Any = fakeredis.FakeServer(version=(7,))
    with fakeredis.FakeRedis(server=server) as client:
        client.eval("return 1", 0)  # makes the Lua runtime of this server
    runtime = server._lua_runtime
    runtime.globals()[b"struct"] = runtime.table_from({b"pack": pack, b"unpack": unpack})
    server._lua_expected_globals.add(b"struct")
    fake: fakeredis.FakeServer = server
    return fake
