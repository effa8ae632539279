"""Golden files: what was sent in each situation, byte for byte, as text.

`REWRITE_GOLDEN=1 pytest tests/web tests/docs/test_http.py` writes them anew, and the copies in docs/http.md with them.
Read the difference before you commit it: clients depend on every byte.
"""

from __future__ import annotations

import os
from pathlib import Path

from ratelimit.web.answer import Answer

__all__ = ("FOLDER", "REWRITE", "as_text", "compare")

_PHRASES = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    408: "Request Timeout",
    413: "Content Too Large",
    429: "Too Many Requests",
    503: "Service Unavailable",
    529: "Overloaded",
}
"""As RFC 9110 has them; those of the standard library differ between its versions, and 529 is in no registry."""
FOLDER = Path(__file__).parent / "golden" / "dialects"
REWRITE = os.environ.get("REWRITE_GOLDEN") == "1"


def as_text(answer: Answer) -> str:
    """An answer as HTTP/1.1 would have it, with bare line ends."""
    head = [f"HTTP/1.1 {answer.status} {_PHRASES[answer.status]}"]
    head += [f"{name.decode('ascii')}: {value.decode('ascii')}" for name, value in answer.headers]
    return "\n".join([*head, "", answer.body.decode()]).rstrip("\n") + "\n"


def compare(name: str, answer: Answer) -> None:
    """Hold an answer against its golden file, or write it."""
    file, text = FOLDER / f"{name}.txt", as_text(answer)
    if REWRITE:
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8"), f"{file.name}: see tests/web/goldens.py on how to rewrite it"
