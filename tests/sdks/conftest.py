"""SDKs that many tests share: installed side by side when first asked for, and kept."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conftest import Servers
from tests.servers import free_port
from tests.servers.ports import HOST

from .canned import CannedServer
from .client import Client, SdkProcess
from .gateway import Access, Gateway
from .versions import ANTHROPIC, OPENAI, VERSIONS, Version


@pytest.fixture(scope="session")
def sdks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Version, SdkProcess]]:
    """Every version of every SDK, each in a process of its own."""
    home = tmp_path_factory.mktemp("home")
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        started = pool.map(lambda version: SdkProcess(version.name, version.number, home), VERSIONS)
        yield {version: stack.enter_context(sdk) for version, sdk in zip(VERSIONS, started, strict=True)}


def _clients(*versions: Version) -> list[Any]:
    return [
        pytest.param((version, is_async), id=f"{version}-{'asyncio' if is_async else 'sync'}")
        for version in versions
        for is_async in (False, True)
    ]


@pytest.fixture(params=_clients(*OPENAI))
def openai(request: pytest.FixtureRequest, sdks: dict[Version, SdkProcess]) -> Client:
    """OpenAI's clients: old and new, sync and asyncio."""
    version, is_async = request.param
    return Client(sdks[version], is_async)


@pytest.fixture(params=_clients(*ANTHROPIC))
def anthropic(request: pytest.FixtureRequest, sdks: dict[Version, SdkProcess]) -> Client:
    """Anthropic's clients: old and new, sync and asyncio."""
    version, is_async = request.param
    return Client(sdks[version], is_async)


@pytest.fixture(scope="session")
def canned() -> Iterator[CannedServer]:
    """A server for answers of our dialects."""
    with CannedServer() as server:
        yield server


@pytest.fixture(scope="session")
def access(tmp_path_factory: pytest.TempPathFactory) -> Access:
    """Plans and keys for the gateways."""
    return Access(tmp_path_factory.mktemp("access"))


@pytest.fixture(scope="session")
def gateway(access: Access, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """`ratelimit serve` with the built-in upstream, which is as fast as it can be."""
    with Gateway(access, tmp_path_factory.mktemp("gateway") / "log") as running:
        yield running


@pytest.fixture(scope="session")
def slow_gateway(access: Access, servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """`ratelimit serve` on Redis, with an upstream of 40 tokens a second, which is asked for the usage of streams."""
    backend = ("--backend", f"redis://{HOST}:{servers.plain().port}")
    options = ("--mock-tokens-per-second", "40", "--ask-usage")
    with Gateway(access, tmp_path_factory.mktemp("slow") / "log", *backend, *options) as running:
        yield running


@pytest.fixture(scope="session")
def lost_gateway(access: Access, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """`ratelimit serve` on a Redis that is not there."""
    nowhere = ("--backend", f"redis://{HOST}:{free_port()}")
    with Gateway(access, tmp_path_factory.mktemp("lost") / "log", *nowhere) as running:
        yield running


@pytest.fixture(scope="session")
def open_gateway(access: Access, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """`ratelimit serve --fail open` on a Redis that is not there."""
    nowhere = ("--backend", f"redis://{HOST}:{free_port()}", "--fail", "open")
    with Gateway(access, tmp_path_factory.mktemp("open") / "log", *nowhere) as running:
        yield running


@pytest.fixture(scope="session")
def proxy(access: Access, slow_gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """`ratelimit serve --upstream` in front of the slow one, for which it has a key of its own."""
    with Gateway(access, tmp_path_factory.mktemp("proxy") / "log", upstream=slow_gateway) as running:
        yield running
