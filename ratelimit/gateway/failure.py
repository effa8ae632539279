"""What a client gets when the upstream cannot be used: the error shapes of both dialects."""

from __future__ import annotations

from typing import Final

from starlette.types import Send

from ratelimit.web.answer import Answer
from ratelimit.web.dialects.base import answer_json, new_request_id
from ratelimit.web.routes import DialectName

__all__ = ("bad_path", "internal_error", "send_answer", "unreachable", "upstream_too_slow")

_ANTHROPIC_TYPES: Final = {400: "invalid_request_error", 500: "api_error", 502: "api_error", 504: "timeout_error"}


def bad_path(dialect: DialectName) -> Answer:
    """400: a path that two servers could read differently."""
    message = "The path of this URL is not in its plain form: send it without dot segments, double or escaped slashes."
    return _error(dialect, 400, "invalid_request_error", None, message)


def internal_error(dialect: DialectName) -> Answer:
    """500: a bug of ours."""
    return _error(dialect, 500, "server_error", None, "The gateway has failed to serve this request.")


def unreachable(dialect: DialectName) -> Answer:
    """502: no connection, or no proper response on it."""
    message = "The model server behind this gateway could not be reached, or gave no proper response."
    return _error(dialect, 502, "server_error", "upstream_unreachable", message)


def upstream_too_slow(dialect: DialectName) -> Answer:
    """504: no response in time."""
    message = "The model server behind this gateway did not respond in time."
    return _error(dialect, 504, "server_error", "upstream_timeout", message)


async def send_answer(answer: Answer, send: Send) -> None:
    """Send it as the whole response."""
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})


def _error(dialect: DialectName, status: int, kind: str, code: str | None, message: str) -> Answer:
    request_id = new_request_id()
    if dialect == "anthropic":
        error = {"type": _ANTHROPIC_TYPES[status], "message": message}
        document: dict[str, object] = {"type": "error", "error": error, "request_id": request_id}
        return answer_json(status, document, [(b"request-id", request_id.encode())])
    document = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return answer_json(status, document, [(b"x-request-id", request_id.encode())])
