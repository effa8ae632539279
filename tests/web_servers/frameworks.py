"""The same streaming app in every framework: it asks before its head and before each chunk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from typing import Any

from ratelimit.web.routes import DialectName
from tests.web.stories import DIALECT_PATHS, Story
from tests.web_servers.links import LINKS, STORY

__all__ = ("ASGI_APPS", "LONG_PATH", "WSGI_APPS", "story_at")

MEDIA_TYPE = "text/event-stream"
LONG_PATH = "/anthropic/v1/messages"
PATHS = (*DIALECT_PATHS.values(), LONG_PATH)


@cache
def story_at(path: str) -> Story:
    """What is told at a path, however it is spelled: a short story, or one that fills every buffer on its way."""
    dialect: DialectName = "anthropic" if "messages" in path else "openai"
    return Story(dialect, ("x" * 65_536,) * 100) if path == LONG_PATH else Story(dialect)


async def _chunks(link: Any, path: str) -> AsyncIterator[bytes]:
    for chunk in story_at(path).chunks:
        await link.permission()
        yield chunk


def _parts(link: Any, path: str) -> Iterator[bytes]:
    for chunk in story_at(path).chunks:
        link.permission()
        yield chunk


def _bare() -> Any:
    """No framework."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for answer in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{answer}.complete"})
            return
        link: Any = LINKS[dict(scope["headers"])[STORY.encode()].decode()]
        while (await receive()).get("more_body", False):
            pass
        await link.permission()
        headers = [(b"content-type", MEDIA_TYPE.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for chunk in _chunks(link, scope["path"]):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


def _starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    async def tell(request: Request) -> StreamingResponse:
        link: Any = LINKS[request.headers[STORY]]
        await request.body()
        await link.permission()
        return StreamingResponse(_chunks(link, request.url.path), media_type=MEDIA_TYPE)

    return Starlette(routes=[Route(path, tell, methods=["POST"]) for path in PATHS])


def _fastapi() -> Any:
    from fastapi import FastAPI, Request
    from fastapi.responses import StreamingResponse

    app = FastAPI()

    async def tell(request: Request, body: dict[str, Any]) -> StreamingResponse:
        link: Any = LINKS[request.headers[STORY]]
        await link.permission()
        return StreamingResponse(_chunks(link, request.url.path), media_type=MEDIA_TYPE)

    tell.__annotations__ = {"request": Request, "body": dict[str, Any]}
    for path in PATHS:
        app.post(path, response_model=None)(tell)
    return app


def _quart() -> Any:
    from quart import Quart, Response, request

    app = Quart(__name__)

    async def tell() -> Response:
        link: Any = LINKS[request.headers[STORY]]
        await request.get_data()
        await link.permission()
        return Response(_chunks(link, request.path), content_type=MEDIA_TYPE)

    for path in PATHS:
        app.add_url_rule(path, path, tell, methods=["POST"])
    return app


def _django(tell: Any) -> None:
    """Settings and routes, once per process."""
    import sys
    from types import ModuleType

    import django
    from django.conf import settings
    from django.urls import path

    urls = ModuleType("tests_web_servers_urls")
    urls.urlpatterns = [path(known.lstrip("/"), tell) for known in PATHS]  # type: ignore[attr-defined]
    sys.modules[urls.__name__] = urls
    settings.configure(ROOT_URLCONF=urls.__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"], MIDDLEWARE=[])
    django.setup()


def _django_asgi() -> Any:
    from django.core.asgi import get_asgi_application
    from django.http import HttpRequest, StreamingHttpResponse

    async def tell(request: HttpRequest) -> StreamingHttpResponse:
        link: Any = LINKS[request.headers[STORY]]
        await link.permission()
        return StreamingHttpResponse(_chunks(link, request.path), content_type=MEDIA_TYPE)

    _django(tell)
    return get_asgi_application()


def _django_wsgi() -> Any:
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, StreamingHttpResponse

    def tell(request: HttpRequest) -> StreamingHttpResponse:
        link: Any = LINKS[request.headers[STORY]]
        assert request.body
        link.permission()
        return StreamingHttpResponse(_parts(link, request.path), content_type=MEDIA_TYPE)

    _django(tell)
    return get_wsgi_application()


def _flask() -> Any:
    from flask import Flask, Response, request

    app = Flask(__name__)

    def tell() -> Response:
        link: Any = LINKS[request.headers[STORY]]
        assert request.get_data()
        link.permission()
        return Response(_parts(link, request.path), content_type=MEDIA_TYPE)

    for path in PATHS:
        app.add_url_rule(path, path, tell, methods=["POST"])
    return app


ASGI_APPS: dict[str, Callable[[], Any]] = {
    "bare": _bare,
    "starlette": _starlette,
    "fastapi": _fastapi,
    "quart": _quart,
    "django": _django_asgi,
}
WSGI_APPS: dict[str, Callable[[], Any]] = {"flask": _flask, "django": _django_wsgi}
