"""What an operator decides about a gateway: one value, checked when it is made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, get_args

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from yarl import URL

from ratelimit.plans.faults import fault
from ratelimit.plans.strict import StrictModel
from ratelimit.web.routes import Unknown

__all__ = ("MOCK", "GatewayConfig", "KeyIn", "LogLevel")

MOCK: Final = "mock"
"""The upstream that is built in."""

KeyIn = Literal["auto", "authorization", "x-api-key"]
"""The header that the upstream expects its key in; "auto": `x-api-key` for Anthropic's endpoints only."""
LogLevel = Literal["debug", "info", "warning", "error"]

_DAY: Final = 86_400


class _Hidden:
    """Stands in an error for a value that may be secret."""

    def __repr__(self) -> str:
        return "<hidden>"


_HIDDEN: Final = _Hidden()


def _upstream(value: object) -> str:
    if value == MOCK:
        return MOCK
    rule = f"must be {MOCK}, or a URL such as http://localhost:8000"
    if not isinstance(value, str):
        raise fault(None, value, rule)
    try:
        url = URL(value, encoded=True)
        _ = url.port  # looked at only when asked for
    except ValueError:
        raise fault(None, value, rule) from None
    if url.raw_user is not None or url.raw_password is not None:
        # The value is not shown: this is where somebody has put a key.
        raise fault(None, _HIDDEN, "must hold no credentials; set RATELIMIT_UPSTREAM_KEY in the environment")
    if url.scheme not in ("http", "https") or not url.raw_host or url.raw_query_string or url.raw_fragment:
        raise fault(None, value, f"{rule}, without query and fragment")
    return value


def _host(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise fault(None, value, "must be a name or an address, such as 127.0.0.1")
    return value


def _path(value: object) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value:
        raise fault(None, value, "must be the path of a file")
    return Path(value)


def _one_of(*choices: str) -> BeforeValidator:
    def check(value: object) -> object:
        if value not in choices:
            raise fault(None, value, f"must be one of {', '.join(choices)}")
        return value

    return BeforeValidator(check)


def _switch(value: object) -> object:
    if not isinstance(value, bool):
        raise fault(None, value, "must be true or false")
    return value


def _secret(value: object) -> object:
    """A key that goes into a header: what surrounds it in a file or a variable is taken off."""
    if isinstance(value, SecretStr):
        return value
    key = value.strip() if isinstance(value, str) else ""
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise fault(None, _HIDDEN, "must be visible ASCII characters, without spaces")
    return SecretStr(key)


def _number(kind: type[int] | type[float], least: int, most: int) -> BeforeValidator:
    name = "a whole number" if kind is int else "a number"

    def check(value: object) -> object:
        # Comparisons the right way round for NaN, which is in no range.
        if isinstance(value, bool) or not isinstance(value, (int, kind)) or not least <= value <= most:
            raise fault(None, value, f"must be {name} from {least} to {most:,}")
        return float(value) if kind is float else value

    return BeforeValidator(check)


class GatewayConfig(StrictModel):
    """The options of `ratelimit serve`. docs/gateway.md explains each.

    Raises:
        ConfigError: names field, value and rule of what is wrong.
    """

    positional: ClassVar[tuple[str, ...]] = ()

    upstream: Annotated[str, BeforeValidator(_upstream)] = MOCK
    """Where requests go: a URL, or "mock"."""
    upstream_key: Annotated[SecretStr, BeforeValidator(_secret)] | None = None
    """The upstream's own API key."""
    upstream_key_in: Annotated[KeyIn, _one_of(*get_args(KeyIn))] = "auto"
    upstream_timeout: Annotated[float, _number(float, 1, _DAY)] = 600.0
    """Longest silence of the upstream, in seconds."""
    keys: Annotated[Path, BeforeValidator(_path)] | None = None
    """The keys file; without one, keys are made for this start only."""
    plans: Annotated[Path, BeforeValidator(_path)] | None = None
    """The plan file; without one, the four built-in plans."""
    backend: str = Field(default="memory://", repr=False)  # may hold a password
    """Where the engine keeps its state."""
    secret: SecretStr | None = None
    """Keys the digests that stand for subjects on the backend: the same in all gateways that share one."""
    host: Annotated[str, BeforeValidator(_host)] = "127.0.0.1"
    port: Annotated[int, _number(int, 0, 65_535)] = 8000
    """0: any that is free."""
    fail: Annotated[Literal["closed", "open"], _one_of("closed", "open")] = "closed"
    unknown: Annotated[Unknown, _one_of(*get_args(Unknown))] = "refuse"
    output: Annotated[
        Literal["learned", "max_tokens", "input_only"], _one_of("learned", "max_tokens", "input_only")
    ] = "learned"
    on_upstream_error: Annotated[
        Literal["refund_tokens", "refund", "keep"], _one_of("refund_tokens", "refund", "keep")
    ] = "refund_tokens"
    anonymous: str | None = None
    """The plan of clients without a key, each limited by its address; without it they are refused."""
    trusted_hops: Annotated[int, _number(int, 0, 32)] = 0
    """Proxies in front of the gateway: that many entries of X-Forwarded-For are believed."""
    ask_usage: Annotated[bool, BeforeValidator(_switch)] = False
    ietf: Annotated[bool, BeforeValidator(_switch)] = False
    mock_tokens_per_second: Annotated[float, _number(float, 0, 1_000_000)] = 0.0
    """0: as fast as possible."""
    mock_first_token: Annotated[float, _number(float, 0, 3_600)] = 0.0
    """Seconds until the mock's first token."""
    grace: Annotated[int, _number(int, 0, _DAY)] = 30
    """Seconds that responses under way get when the gateway is told to stop."""
    access_log: Annotated[bool, BeforeValidator(_switch)] = True
    log_level: Annotated[LogLevel, _one_of(*get_args(LogLevel))] = "info"

    if TYPE_CHECKING:  # the signature for callers; StrictModel.__init__ does the work

        def __init__(self, **options: Any) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _known_only(cls, data: object) -> object:
        return data if isinstance(data, cls) else cls._known(data)

    @property
    def is_mock(self) -> bool:
        """True when the built-in upstream answers."""
        return self.upstream == MOCK


GatewayConfig.known_keys = tuple(GatewayConfig.model_fields)
