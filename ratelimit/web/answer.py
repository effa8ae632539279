"""A response of our own: what a client gets in place of the app's."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("Answer", "Headers")

Headers = list[tuple[bytes, bytes]]
"""Pairs in the order in which they are sent; names in lower case."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (content-type and content-length included) and body, in a dialect's manner."""

    status: int
    headers: Headers
    body: bytes
