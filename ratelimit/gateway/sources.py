"""Where options come from: defaults, then a file, then the environment, then the command line; the last one wins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ratelimit.errors import ConfigError
from ratelimit.gateway.config import GatewayConfig
from ratelimit.plans.faults import short
from ratelimit.plans.formats import PARSERS

__all__ = ("PREFIX", "load_config")

PREFIX: Final = "RATELIMIT_"
"""In front of an option's name, in capitals, in the environment."""

_FILE_MAX_BYTES: Final = 1024 * 1024
_SECRETS: Final = ("secret", "upstream_key")
_PATHS: Final = ("keys", "plans")
_WORDS: Final = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


def load_config(
    options: Mapping[str, object], environ: Mapping[str, str], *, file: str | Path | None = None
) -> GatewayConfig:
    """One configuration from all sources. Each is checked on its own first, so that errors name the one to change.

    Args:
        options: from the command line; None stands for an option that was not given.
        environ: the environment; an empty variable counts as unset.
        file: the configuration file; None: what RATELIMIT_CONFIG names, if it is set.

    Raises:
        ConfigError: names source, field, value and rule of what is wrong.
    """
    merged: dict[str, object] = {}
    for source, values in _layers(options, environ, file):
        try:
            GatewayConfig.build(values, at="")
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None
        merged |= values
    return GatewayConfig.build(merged, at="")


def _layers(
    options: Mapping[str, object], environ: Mapping[str, str], file: str | Path | None
) -> Iterator[tuple[str, dict[str, object]]]:
    path = file or environ.get(f"{PREFIX}CONFIG")
    if path:
        yield str(path), _from_file(Path(path))
    for name in GatewayConfig.known_keys:
        variable = f"{PREFIX}{name.upper()}"
        if text := environ.get(variable):
            yield variable, {name: _parsed(name, text)}
    yield "command line", {name: value for name, value in options.items() if value is not None}


def _from_file(path: Path) -> dict[str, object]:
    parse = PARSERS.get(path.suffix.lower())
    if parse is None:
        raise ConfigError(f"{path}: suffix {short(path.suffix)}: must be one of {', '.join(PARSERS)}")
    try:
        document = parse(_read(path))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must be a table of options, such as port = 8000")
    for name in _SECRETS:
        if name in document:
            raise ConfigError(f"{path}: {name}: must not stand in a file; set {PREFIX}{name.upper()}")
    # What a file names is beside it, wherever the gateway is started.
    beside: dict[str, Any] = {
        name: path.parent / document[name] for name in _PATHS if isinstance(document.get(name), str) and document[name]
    }
    return {**document, **beside}


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_FILE_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(raw) > _FILE_MAX_BYTES:
        raise ConfigError(f"larger than {_FILE_MAX_BYTES} bytes: must be at most 1 MiB")
    try:
        return raw.decode("utf-8-sig")  # editors on Windows begin files with a byte order mark
    except UnicodeDecodeError as error:
        raise ConfigError(f"byte {raw[error.start]:#04x} at {error.start}: must be UTF-8 text") from None


def _parsed(name: str, text: str) -> object:
    """The value that a text stands for. One that cannot be read stays as it is: the check of the field says why."""
    kind = GatewayConfig.model_fields[name].annotation
    if kind is bool:
        return _WORDS.get(text.strip().lower(), text)
    try:
        return int(text) if kind is int else float(text) if kind is float else text
    except ValueError:
        return text
