"""The WSGI middleware: the same exchange as `ratelimit.web.asgi`, driven by a thread."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from inspect import isawaitable
from types import TracebackType
from typing import Any, Final, TypeAlias, Unpack

from ratelimit.errors import ConfigError, CostExceedsLimit, RateLimitError
from ratelimit.limiter import Limiter
from ratelimit.reservation import Reservation
from ratelimit.web.answer import Answer
from ratelimit.web.exchange import Exchange
from ratelimit.web.head import RequestHead
from ratelimit.web.identity import Identify
from ratelimit.web.policy import Options, Policy
from ratelimit.web.routes import Kind, Route
from ratelimit.web.settler import ThreadSettler

__all__ = ("RateLimitWSGIMiddleware",)

_Environ: TypeAlias = dict[str, Any]
_ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None] | None
_Write: TypeAlias = Callable[[bytes], object]
_StartResponse: TypeAlias = Callable[..., _Write]
_App: TypeAlias = Callable[[_Environ, _StartResponse], Iterable[bytes]]
_Exchange: TypeAlias = Exchange[Reservation]

_READ: Final = 65_536


class RateLimitWSGIMiddleware:
    """Holds every request to its plan, in the manners of the API that its client speaks.

    `app.wsgi_app = RateLimitWSGIMiddleware(app.wsgi_app, limiter=limiter, identify=ApiKeys("keys.toml"))`, outermost.

    Args:
        app: the WSGI application.
        limiter: decides and settles; closing it is its owner's business.
        identify: who a request is charged to; not a coroutine function.
        options: see :class:`ratelimit.web.policy.Policy`.

    Raises:
        ConfigError: an option that cannot be right.
    """

    def __init__(self, app: _App, limiter: Limiter, identify: Identify, **options: Unpack[Options]) -> None:
        self.app = app
        self.policy = Policy(identify, limiter.plans, limiter.retention, **options)
        self.settler = ThreadSettler(self.policy.settle_seconds)
        self._limiter = limiter

    def __call__(self, environ: _Environ, start_response: _StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        root = _text(environ.get("SCRIPT_NAME", ""))
        path = root + _text(environ.get("PATH_INFO", ""))
        route = self.policy.routes.find(environ["REQUEST_METHOD"], path, root)
        if route is None:
            return self.app(environ, start_response)
        if route.kind is Kind.PREFLIGHT:
            # Whatever takes it for a call of an endpoint finds nothing to do.
            return self.app({**environ, **_input(b"")}, start_response)
        head = RequestHead(
            environ["REQUEST_METHOD"], path, _headers(environ), environ.get("REMOTE_ADDR") or None, environ
        )
        exchange: _Exchange = Exchange(self.policy, route, head)
        answer = self._admit(exchange, route, head, environ)
        if answer is not None:
            parts = _answer(answer, start_response)
            return parts if environ["REQUEST_METHOD"] != "HEAD" else []
        if exchange.body is not None:
            environ = {**environ, **_input(exchange.body)}
            environ.pop("HTTP_ACCEPT_ENCODING", None)  # what is to be taken out must not come compressed
        return self._forward(exchange, environ, start_response)

    def _admit(self, exchange: _Exchange, route: Route, head: RequestHead, environ: _Environ) -> Answer | None:
        """Identify, estimate and reserve; an answer if the request ends here."""
        if route.kind is Kind.REFUSED:
            return exchange.not_found()
        try:
            who = self._identify(head)
        except Exception as error:  # whatever a callable of the user's raises: nobody may pass for it
            return exchange.misconfigured(error)
        answer = exchange.identified(who)
        if answer is None and exchange.wants_body:
            answer = self._read(exchange, environ)
        if answer is None and exchange.ask is not None:
            answer = self._reserve(exchange)
        return answer

    def _identify(self, head: RequestHead) -> object:
        who = self.policy.identify(head)
        if isawaitable(who):
            getattr(who, "close", lambda: None)()
            raise ConfigError("identify is a coroutine function: under WSGI it must be a plain one")
        return who

    def _read(self, exchange: _Exchange, environ: _Environ) -> Answer | None:
        raw = bytearray()
        deadline = time.monotonic() + self.policy.body_seconds
        for part in _parts(environ, self.policy.body_bytes):
            raw += part
            if len(raw) > self.policy.body_bytes:
                return exchange.body_too_large()
            if time.monotonic() > deadline:
                return exchange.body_too_slow()
        body = bytes(raw)
        environ.update(_input(body))
        return exchange.opened(body)

    def _reserve(self, exchange: _Exchange) -> Answer | None:
        try:
            exchange.reserved(self._limiter.acquire(exchange.ask or (), group=exchange.group))
        except CostExceedsLimit as error:
            return self._reserve(exchange) if exchange.fits_smaller() else exchange.refused(error)
        except RateLimitError as error:
            return exchange.refused(error)
        return None

    def _forward(self, exchange: _Exchange, environ: _Environ, start_response: _StartResponse) -> Iterable[bytes]:
        def started(status: str, headers: list[tuple[str, str]], exc_info: _ExcInfo = None) -> _Write:
            pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
            changed = _strings(exchange.started(int(status[:3]), pairs))
            # An app that begins anew after an error passes on what the server knows of it.
            write = start_response(status, changed, exc_info) if exc_info else start_response(status, changed)
            return lambda chunk: write(exchange.fed(chunk))

        try:
            parts = self.app(environ, started)
            # Servers that know how many parts there are send Content-Length for one; they must go on to do so.
            kind = _CountedParts if hasattr(parts, "__len__") and exchange.body is None else _Parts
            return kind(parts, exchange, self.settler)
        except BaseException:
            self.settler.submit(exchange.bill())
            raise


class _Parts:
    """The parts of a response; settles once it is over, whoever says so."""

    def __init__(self, parts: Iterable[bytes], exchange: _Exchange, settler: ThreadSettler) -> None:
        self._parts = parts
        self._iterator: Iterator[bytes] | None = None
        self._exchange = exchange
        self._settler = settler

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        # Begun with the first part: some apps do their work in `__iter__`, and may raise in it.
        try:
            if self._iterator is None:
                self._iterator = iter(self._parts)
            part = next(self._iterator)
        except StopIteration:
            rest = self._exchange.ended()
            self._settle()
            if rest:
                return rest
            raise
        except BaseException:
            self._settle()
            raise
        return self._exchange.fed(part)

    def close(self) -> None:
        """Called by the server exactly once, also after a disconnect."""
        self._exchange.cut = True
        try:
            close = getattr(self._parts, "close", None)
            if close is not None:
                close()
        finally:
            self._settle()

    def _settle(self) -> None:
        self._settler.submit(self._exchange.bill())


class _CountedParts(_Parts):
    """Parts whose number is known."""

    def __len__(self) -> int:
        return len(self._parts)  # type: ignore[arg-type]  # made for those that have a length only


def _answer(answer: Answer, start_response: _StartResponse) -> Iterable[bytes]:
    try:
        reason = HTTPStatus(answer.status).phrase
    except ValueError:
        reason = "Overloaded"  # 529, which only Anthropic knows
    start_response(f"{answer.status} {reason}", _strings(answer.headers))
    return [answer.body]


def _strings(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def _text(path: str) -> str:
    """A path as ASGI has it: WSGI hands over its bytes as Latin-1."""
    return path.encode("latin-1", "replace").decode("utf-8", "replace")


def _headers(environ: _Environ) -> Iterator[tuple[bytes, bytes]]:
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            yield key[5:].replace("_", "-").lower().encode("latin-1"), value.encode("latin-1", "replace")
        elif key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            yield key.replace("_", "-").lower().encode("latin-1"), value.encode("latin-1", "replace")


def _parts(environ: _Environ, most: int) -> Iterator[bytes]:
    """The body, part by part: as long as its Content-Length, or to its end where the server marks it."""
    length = environ.get("CONTENT_LENGTH") or ""
    left = int(length) if length.isdecimal() else most + 1 if environ.get("wsgi.input_terminated") else 0
    stream = environ["wsgi.input"]
    while left > 0:
        part = stream.read(min(left, _READ))
        if not part:
            return
        left -= len(part)
        yield part


def _input(raw: bytes) -> _Environ:
    return {"wsgi.input": io.BytesIO(raw), "CONTENT_LENGTH": str(len(raw)), "wsgi.input_terminated": True}
