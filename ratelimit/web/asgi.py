"""The ASGI middleware. Pure ASGI: a request's state is its exchange, and every message is forwarded as it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from inspect import isawaitable
from typing import Any, Final, TypeAlias, Unpack

from ratelimit.aio import AsyncLimiter
from ratelimit.errors import CostExceedsLimit, RateLimitError
from ratelimit.reservation import AsyncReservation
from ratelimit.web.answer import Answer
from ratelimit.web.deadline import within
from ratelimit.web.exchange import Exchange
from ratelimit.web.head import RequestHead
from ratelimit.web.identity import Identify, Identity
from ratelimit.web.policy import Options, Policy
from ratelimit.web.routes import Kind, Route
from ratelimit.web.settler import Settler

__all__ = ("RateLimitMiddleware",)

_log = logging.getLogger("ratelimit.web")

_Message: TypeAlias = MutableMapping[str, Any]
_Scope: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[_Message]]
_Send: TypeAlias = Callable[[_Message], Awaitable[None]]
_App: TypeAlias = Callable[[_Scope, _Receive, _Send], Awaitable[None]]
_Exchange: TypeAlias = Exchange[AsyncReservation]


_LAST_SECONDS: Final = 1.0
"""How long a shutdown waits for requests that have not ended, before it bills them as they stand."""
_OF_OLD_BODY: Final = (b"content-length", b"transfer-encoding", b"accept-encoding")
"""Headers that do not go with a body that asks for usage: what is to be taken out must not come compressed."""


class RateLimitMiddleware:
    """Holds every request to its plan, in the manners of the API that its client speaks.

    `app.add_middleware(RateLimitMiddleware, limiter=limiter, identify=ApiKeys("keys.toml"))`, outermost: what stands
    outside of it does not see its refusals. Scopes other than "http" pass untouched, WebSockets among them.

    Args:
        app: the ASGI application.
        limiter: decides and settles; closing it is its owner's business.
        identify: who a request is charged to.
        options: see :class:`ratelimit.web.policy.Policy`.

    Raises:
        ConfigError: an option that cannot be right.
    """

    def __init__(self, app: _App, limiter: AsyncLimiter, identify: Identify, **options: Unpack[Options]) -> None:
        self.app = app
        self.policy = Policy(identify, limiter.plans, limiter.retention, **options)
        self.settler = Settler(self.policy.settle_seconds, in_process=limiter.in_process)
        self._limiter = limiter
        self._under_way: set[_Exchange] = set()
        self._all_ended: asyncio.Event | None = None

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Serve one connection scope."""
        if scope["type"] == "http":
            route = self.policy.routes.find(scope["method"], scope["path"], scope.get("root_path", ""))
            if route is not None and route.kind is not Kind.PREFLIGHT:
                await self._serve(route, scope, receive, send)
                return
            if route is not None:
                receive = _without_body(receive)
        elif scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _live(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Holds back the shutdown until every settlement is done: an app closes its limiter when it hears of it."""
        heard = False

        async def received() -> _Message:
            nonlocal heard
            heard = True
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._wind_up()
            return message

        try:
            await self.app(scope, received, send)
        except Exception as error:
            if heard:
                raise
            _log.debug("the app has no lifespan: %s", error)
        if not heard:
            # An app without a lifespan, such as Django's: there are settlements to wait for all the same.
            await received()
            await send({"type": "lifespan.startup.complete"})
            await received()
            await send({"type": "lifespan.shutdown.complete"})

    async def _wind_up(self) -> None:
        """Wait for requests that the server has given up, which may take some turns of the loop; then settle all."""
        if self._under_way:
            self._all_ended = asyncio.Event()
            try:
                async with asyncio.timeout(_LAST_SECONDS):
                    await self._all_ended.wait()
            except TimeoutError:
                for exchange in self._under_way:
                    exchange.cut = True
                    self.settler.submit(exchange.bill())
        await self.settler.drain()

    async def _serve(self, route: Route, scope: _Scope, receive: _Receive, send: _Send) -> None:
        client = scope.get("client")
        head = RequestHead(scope["method"], scope["path"], scope["headers"], client[0] if client else None, scope)
        exchange: _Exchange = Exchange(self.policy, route, head)
        body = _Body(receive)
        self._under_way.add(exchange)
        try:
            answer = await self._admit(exchange, route, head, body)
            if answer is not None:
                await _answer(answer, send)
            elif not body.gone:
                if exchange.body is not None:
                    scope = body.replace(exchange.body, scope)
                await self._forward(exchange, scope, body, send)
        finally:
            self._under_way.discard(exchange)
            if self._all_ended is not None and not self._under_way:
                self._all_ended.set()

    async def _admit(self, exchange: _Exchange, route: Route, head: RequestHead, body: _Body) -> Answer | None:
        """Identify, estimate and reserve; an answer if the request ends here."""
        if route.kind is Kind.REFUSED:
            return exchange.not_found()
        try:
            who = self.policy.identify(head)
            if type(who) is not Identity and isawaitable(who):
                who = await who
        except Exception as error:  # whatever a callable of the user's raises: nobody may pass for it
            return exchange.misconfigured(error)
        answer = exchange.identified(who)
        if answer is None and exchange.wants_body:
            answer = await self._read(exchange, body)
        if answer is None and exchange.ask is not None:
            answer = await self._reserve(exchange)
        return answer

    async def _read(self, exchange: _Exchange, body: _Body) -> Answer | None:
        try:
            raw = await within(self.policy.body_seconds, body.read(self.policy.body_bytes))
        except TimeoutError:
            return exchange.body_too_slow()
        if raw is None:
            return exchange.body_too_large()
        return None if body.gone else exchange.opened(raw)

    async def _reserve(self, exchange: _Exchange) -> Answer | None:
        try:
            exchange.reserved(await self._acquire(exchange))
        except CostExceedsLimit as error:
            return await self._reserve(exchange) if exchange.fits_smaller() else exchange.refused(error)
        except RateLimitError as error:
            return exchange.refused(error)
        return None

    async def _acquire(self, exchange: _Exchange) -> AsyncReservation:
        acquisition = self._limiter.acquire(exchange.ask or (), group=exchange.group)
        if self._limiter.in_process:
            return await acquisition
        # Cancelled while the backend decides, a request may be charged all the same: somebody must hear the answer.
        acquiring = asyncio.ensure_future(acquisition)
        try:
            return await asyncio.shield(acquiring)
        except asyncio.CancelledError:
            await _seen_through(self.settler.abandon(acquiring))
            raise

    async def _forward(self, exchange: _Exchange, scope: _Scope, body: _Body, send: _Send) -> None:
        """Run the app. Whatever ends it, the bill is settled, and not by this task."""
        settler, response = self.settler, _Response(exchange, self.settler, send)
        try:
            await self.app(scope, body.receive, response.send)
        except asyncio.CancelledError:
            exchange.cut = True
            await _seen_through(settler.submit(exchange.bill()))
            raise
        finally:
            exchange.cut = exchange.cut or body.gone
            settler.submit(exchange.bill())


class _Body:
    """The messages of a request: read ahead once, and then handed to the app as they came."""

    __slots__ = ("_messages", "_receive", "gone")

    def __init__(self, receive: _Receive) -> None:
        self._receive = receive
        self._messages: list[_Message] = []
        self.gone = False
        """True once the client has been seen to be gone."""

    async def read(self, most: int) -> bytes | None:
        """The whole body; None if it is longer than `most` bytes."""
        bodies: list[bytes] = []
        size, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                self.gone = True
                return b""
            self._messages.append(message)
            part = message.get("body", b"")
            bodies.append(part)
            size += len(part)
            if size > most:
                return None
            more = message.get("more_body", False)
        if len(bodies) == 1:
            return bodies[0]
        self._messages.reverse()
        return b"".join(bodies)

    def replace(self, raw: bytes, scope: _Scope) -> _Scope:
        """Hand this body to the app instead; returns the scope that goes with it."""
        self._messages = [{"type": "http.request", "body": raw, "more_body": False}]
        headers = [pair for pair in scope["headers"] if pair[0].lower() not in _OF_OLD_BODY]
        return {**scope, "headers": [*headers, (b"content-length", str(len(raw)).encode())]}

    async def receive(self) -> _Message:
        """The app's `receive`."""
        if self._messages:
            return self._messages.pop()
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.gone = True
        return message


class _Response:
    """The messages of a response: metered as they pass, and billed at the last of them."""

    __slots__ = ("_exchange", "_send", "_settler")

    def __init__(self, exchange: _Exchange, settler: Settler, send: _Send) -> None:
        self._exchange = exchange
        self._settler = settler
        self._send = send

    def send(self, message: _Message) -> Awaitable[None]:
        """The app's `send`.

        No coroutine function: what the server's `send` returns is awaited as it is, which spares a frame per chunk.
        And no closure: CPython 3.11 has its short way of calling for functions that it meets again, not for new ones.
        """
        exchange = self._exchange
        kind = message["type"]
        if kind == "http.response.body":
            chunk = message.get("body", b"")
            forwarded = exchange.fed(chunk)
            if not message.get("more_body", False):
                rest = exchange.ended()
                forwarded = forwarded + rest if rest else forwarded
                self._settler.submit(exchange.bill())
            if forwarded is not chunk:
                message = {**message, "body": forwarded}
        elif kind == "http.response.start":
            headers = exchange.started(message["status"], message.get("headers", ()))
            message = {**message, "headers": headers}
        send = self._send
        return send(message)


def _without_body(receive: _Receive) -> _Receive:
    """For a request that passes unseen: whatever takes it for a call of an endpoint finds nothing to do."""

    async def received() -> _Message:
        message = await receive()
        return {**message, "body": b""} if message["type"] == "http.request" else message

    return received


async def _seen_through(settling: asyncio.Task[None] | None) -> None:
    """Let a cancelled request end with its settlement, or with a second cancellation.

    A loop that ends waits for the tasks that it has cancelled, and not for what those begin meanwhile.
    """
    if settling is not None:
        await asyncio.wait({settling})


async def _answer(answer: Answer, send: _Send) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})
