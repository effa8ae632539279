"""The sync and the asyncio face are one API."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from ratelimit import AsyncLimiter, AsyncReservation, Limiter, Reservation
from ratelimit.backends.base import AsyncBackend, Backend
from ratelimit.backends.memory import AsyncMemoryBackend, MemoryBackend
from ratelimit.backends.redis import RedisBackend
from ratelimit.backends.redis_asyncio import AsyncRedisBackend

PAIRS: list[tuple[type, type]] = [(Limiter, AsyncLimiter), (Reservation, AsyncReservation), (Backend, AsyncBackend)]
VERBS = ["reserve", "settle", "peek", "reset", "close"]


def verbs(face: type) -> dict[str, Callable[..., Any]]:
    """Public methods, in the order in which they are written."""
    return {
        name: getattr(face, name)
        for name, value in vars(face).items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, classmethod))
    }


def parameters(verb: Callable[..., Any]) -> list[tuple[str, object, object]]:
    """Names, kinds and defaults."""
    return [(each.name, each.kind, each.default) for each in inspect.signature(verb).parameters.values()]


@pytest.mark.parametrize(("sync", "awaited"), PAIRS, ids=lambda face: face.__name__)
def test_both_faces_have_the_same_verbs_in_the_same_order(sync: type, awaited: type) -> None:
    """Whoever knows one knows the other."""
    assert list(verbs(sync)) == list(verbs(awaited)) != []


@pytest.mark.parametrize(("sync", "awaited"), PAIRS, ids=lambda face: face.__name__)
def test_the_verbs_take_the_same_parameters(sync: type, awaited: type) -> None:
    """Same names, same order, same defaults."""
    assert {name: parameters(verb) for name, verb in verbs(sync).items()} == {
        name: parameters(verb) for name, verb in verbs(awaited).items()
    }


@pytest.mark.parametrize(("sync", "awaited"), PAIRS, ids=lambda face: face.__name__)
def test_both_faces_show_the_same_properties(sync: type, awaited: type) -> None:
    """Of a reservation above all: the estimate, the standings, the settlement."""

    def properties(face: type) -> set[str]:
        return {
            name for name, value in inspect.getmembers(face) if isinstance(value, property) and not name.startswith("_")
        }

    assert properties(sync) == properties(awaited)


@pytest.mark.parametrize(("sync", "awaited"), PAIRS[:2], ids=lambda face: face.__name__)
def test_every_verb_says_what_it_does(sync: type, awaited: type) -> None:
    """Or refers to the other face."""
    for face in (sync, awaited):
        assert [name for name, verb in verbs(face).items() if not inspect.getdoc(verb)] == []


@pytest.mark.parametrize("backend", [MemoryBackend, AsyncMemoryBackend, RedisBackend, AsyncRedisBackend])
def test_every_backend_has_the_four_verbs(backend: type) -> None:
    """With the parameters of the protocol; those of asyncio are coroutines."""
    protocol = AsyncBackend if backend.__name__.startswith("Async") else Backend
    for name in VERBS:
        assert parameters(getattr(backend, name)) == parameters(getattr(protocol, name))
        assert inspect.iscoroutinefunction(getattr(backend, name)) is (protocol is AsyncBackend)
