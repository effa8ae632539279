"""LiteLLM's limiter hook as a contestant: runs in an environment that holds LiteLLM, and nothing of ours but `worker`.

A decision is its pre-call hook, a reconciliation its success callback, as the proxy calls them for one chat completion
of one key with both limits. Around them is nothing else of the proxy: of its server module the hook reads settings, so
an empty stand-in takes the place of that module and of everything that it would import.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import sys
import types
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

from benchmarks.worker import Decide, serve_asyncio

__all__ = ("Hook",)

_ESTIMATE, _REAL, _OUT_OF_REACH = 1_000, 700, 10**12
_PROMPT: Final = "word" * 10
"""Ten tokens by LiteLLM's estimate of four characters each."""
_MODEL: Final = "glm-5"


class Hook:
    """The hook with its cache, in memory or on Redis, and what it is called with."""

    def __init__(self, url: str) -> None:
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it is downloaded
        proxy: Any = importlib.import_module("litellm.proxy")
        server: Any = types.ModuleType("litellm.proxy.proxy_server")
        server.general_settings, server.llm_router, server.prisma_client = {}, None, None
        sys.modules[server.__name__] = proxy.proxy_server = server
        logging.disable(logging.WARNING)
        caching: Any = importlib.import_module("litellm.caching.caching")
        utils: Any = importlib.import_module("litellm.proxy.utils")
        self._auth: Any = importlib.import_module("litellm.proxy._types").UserAPIKeyAuth
        self._limiter: Any = importlib.import_module("litellm.proxy.hooks.parallel_request_limiter_v3")
        redis_cache = None
        if not url.startswith("memory"):
            made: Any = importlib.import_module("litellm.caching.redis_cache").RedisCache
            redis_cache = made(url=url, max_connections=20_000)
        self._cache = caching.DualCache(redis_cache=redis_cache)
        self._hook = self._limiter._PROXY_MaxParallelRequestsHandler_v3(utils.InternalUsageCache(self._cache))
        answers: Any = importlib.import_module("litellm.types.utils")
        usage = answers.Usage(prompt_tokens=10, completion_tokens=_REAL - 10, total_tokens=_REAL)
        self._answer = answers.ModelResponse(usage=usage)
        self._keys: dict[str, Any] = {}
        self._numbers = itertools.count()

    async def reserve(self, subject: str) -> None:
        """The pre-call hook."""
        await self._reserve(subject)

    async def reserve_and_reconcile(self, subject: str) -> None:
        """The pre-call hook, then the success callback."""
        call, key = await self._reserve(subject)
        metadata = {"user_api_key_hash": key.api_key, "user_api_key": key.api_key, "model_group": _MODEL}
        told = {
            "litellm_call_id": call,
            "model": _MODEL,
            "standard_logging_object": {"metadata": metadata},
            "litellm_params": {"metadata": metadata},
        }
        await self._hook.async_log_success_event(told, self._answer, None, None)
        if self._limiter.get_request_stash().reserved_tokens:
            raise AssertionError("LiteLLM did not reconcile its reservation")

    async def _reserve(self, subject: str) -> tuple[str, Any]:
        self._limiter._request_stash.set(None)  # a request of its own, without the price of a task for each
        call = f"call-{next(self._numbers)}"
        data = {
            "model": _MODEL,
            "messages": [{"role": "user", "content": _PROMPT}],
            "max_tokens": _ESTIMATE - 10,
            "litellm_call_id": call,
        }
        key = self._key(subject)
        await self._hook.async_pre_call_hook(key, self._cache, data, "completion")
        if self._limiter.get_request_stash().reserved_tokens != _ESTIMATE:
            raise AssertionError("LiteLLM was meant to reserve what the others do")
        return call, key

    def _key(self, subject: str) -> Any:
        if subject not in self._keys:
            self._keys[subject] = self._auth(api_key=subject, rpm_limit=_OUT_OF_REACH, tpm_limit=_OUT_OF_REACH)
        return self._keys[subject]


async def _contestants(url: str, stack: AsyncExitStack) -> Mapping[str, Decide]:
    hook = Hook(url)
    if hook._cache.redis_cache is not None:
        stack.push_async_callback(hook._cache.redis_cache.disconnect)
    return {"LiteLLM's hook": hook.reserve, "LiteLLM's hook + reconcile": hook.reserve_and_reconcile}


if __name__ == "__main__":
    serve_asyncio(_contestants, sys.argv[1], sys.argv[2])
