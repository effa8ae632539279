"""`ratelimit serve`: the gateway."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ratelimit.cli.failure import one_line_errors
from ratelimit.cli.options import PlansFile
from ratelimit.errors import ConfigError

__all__ = ("serve",)

_EXTRA = "llm-ratelimit[gateway]"
_OURS = "ratelimit"


def serve(
    *,
    upstream: Annotated[
        str | None, typer.Option(metavar="URL|mock", help="Where requests go. Default: mock, which is built in.")
    ] = None,
    upstream_timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Longest silence of the upstream. Default: 600.")
    ] = None,
    upstream_key_in: Annotated[
        str | None,
        typer.Option(
            metavar="auto|authorization|x-api-key", help="The header for the upstream's own key. Default: auto."
        ),
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The keys file. Without one: keys for this start only.")
    ] = None,
    plans_file: PlansFile = None,
    backend: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the engine keeps its state. Default: memory://.")
    ] = None,
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(metavar="N", help="0: any that is free. Default: 8000.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Options from a TOML, YAML or JSON file.")] = None,
    fail: Annotated[
        str | None,
        typer.Option(
            metavar="closed|open", help="While the backend cannot decide: refuse, or let pass. Default: closed."
        ),
    ] = None,
    unknown: Annotated[
        str | None,
        typer.Option(metavar="refuse|charge|pass", help="What to do with paths that are not known. Default: refuse."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(metavar="learned|max_tokens|input_only", help="How output is reserved. Default: learned."),
    ] = None,
    on_upstream_error: Annotated[
        str | None,
        typer.Option(
            metavar="refund_tokens|refund|keep", help="What an upstream's error gives back. Default: refund_tokens."
        ),
    ] = None,
    anonymous: Annotated[
        str | None, typer.Option(metavar="PLAN", help="Plan of clients without a key. Default: they are refused.")
    ] = None,
    trusted_hops: Annotated[
        int | None, typer.Option(metavar="N", help="Proxies in front, whose X-Forwarded-For is believed. Default: 0.")
    ] = None,
    ask_usage: Annotated[
        bool | None, typer.Option("--ask-usage/--no-ask-usage", help="Ask the upstream for the usage of streams.")
    ] = None,
    ietf: Annotated[bool | None, typer.Option("--ietf/--no-ietf", help="Send RateLimit header fields too.")] = None,
    mock_tokens_per_second: Annotated[
        float | None, typer.Option(metavar="N", help="Speed of the mock. Default: 0, as fast as possible.")
    ] = None,
    mock_first_token: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Time to the mock's first token. Default: 0.")
    ] = None,
    grace: Annotated[
        int | None, typer.Option(metavar="SECONDS", help="For responses under way when told to stop. Default: 30.")
    ] = None,
    access_log: Annotated[
        bool | None, typer.Option("--access-log/--no-access-log", help="A line of JSON per request. Default: on.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(metavar="debug|info|warning|error", help="What else is logged. Default: info.")
    ] = None,
) -> None:
    """Run the gateway: a reverse proxy in front of an LLM server that holds every key to its plan.

    Every option can also stand in the configuration file (upstream_timeout = 60) or in the environment
    (RATELIMIT_UPSTREAM_TIMEOUT=60); the command line wins, then the environment. Secrets come from the environment
    only: RATELIMIT_UPSTREAM_KEY, the upstream's own API key, and RATELIMIT_SECRET, which all gateways on one backend
    must share.
    """
    given = {
        "upstream": upstream,
        "upstream_timeout": upstream_timeout,
        "upstream_key_in": upstream_key_in,
        "keys": keys,
        "plans": plans_file,
        "backend": backend,
        "host": host,
        "port": port,
        "fail": fail,
        "unknown": unknown,
        "output": output,
        "on_upstream_error": on_upstream_error,
        "anonymous": anonymous,
        "trusted_hops": trusted_hops,
        "ask_usage": ask_usage,
        "ietf": ietf,
        "mock_tokens_per_second": mock_tokens_per_second,
        "mock_first_token": mock_first_token,
        "grace": grace,
        "access_log": access_log,
        "log_level": log_level,
    }
    with one_line_errors():
        _serve(given, config)


def _serve(given: Mapping[str, object], file: Path | None) -> None:
    try:
        from ratelimit.gateway.server import serve as run
        from ratelimit.gateway.sources import load_config
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] == _OURS:
            raise  # a fault of ours, which no installation mends
        raise ConfigError(f"the gateway needs {missing.name}: pip install '{_EXTRA}'") from None
    # Shown at once, also where stdout is a pipe: whoever started the gateway waits for its address.
    run(load_config(given, os.environ, file=file), lambda line: print(line, flush=True))
