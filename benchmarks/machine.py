"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from benchmarks.crew import LITELLM
from tests.servers import RedisBinary

__all__ = ("machine",)


_PEERS = ("hiredis", "uvloop", "limits", "throttled-py", "pyrate-limiter", "aiolimiter")
_WEB = ("uvicorn", "httptools", "orjson", "msgspec", "starlette", "slowapi")


def machine(server: RedisBinary | None, *, web: bool = False) -> dict[str, str]:
    """Name and version of everything that counts; the server, and what web sections use, only if it took part."""
    versions = {name: version(name) for name in ("redis", *_PEERS)}
    return {
        "cores": f"{os.cpu_count()} x {_cpu()}",
        "system": f"{platform.system()} {platform.machine()}",
        platform.python_implementation(): platform.python_version(),
        **({"server": server.name} if server else {}),
        "redis-py": versions["redis"],
        **{name: versions[name] for name in _PEERS},
        "LiteLLM": LITELLM,
        **({name: version(name) for name in _WEB} if web else {}),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "CPU of unknown make"
