"""Everything that the gateway has to say on stderr, one JSON object per line, like the access log beside it."""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import UTC, datetime
from typing import Final

import orjson

from ratelimit.gateway.config import LogLevel
from ratelimit.gateway.proxy import UpstreamBroken

__all__ = ("JsonLines", "set_up_logs")

_EXPECTED: Final = (UpstreamBroken, asyncio.CancelledError)
"""What the server reports as a crash of the app, and is none: it is how a connection is made to break."""


class JsonLines(logging.Formatter):
    """Formats records as `time`, `level`, `logger`, `message`, and `exception`, a traceback, if there was one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its newline."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage().strip(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def set_up_logs(level: LogLevel) -> None:
    """Send all logs of this process to stderr: ours from `level` on, those of others from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.DEBUG if level == "debug" else max(logging.WARNING, _number(level)))
    logging.getLogger("ratelimit").setLevel(_number(level))
    logging.getLogger("uvicorn.error").addFilter(_shortened)


def _number(level: LogLevel) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _shortened(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, _EXPECTED):
        record.msg, record.args = "a response was cut: %s", (type(error).__name__,)
        record.exc_info = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True
