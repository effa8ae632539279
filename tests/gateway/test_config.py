"""Promises of `ratelimit.gateway.config` and `ratelimit.gateway.sources`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from ratelimit import AsyncLimiter
from ratelimit.errors import ConfigError
from ratelimit.gateway.config import GatewayConfig
from ratelimit.gateway.demo import DemoKeys
from ratelimit.gateway.sources import load_config
from ratelimit.web.asgi import RateLimitMiddleware
from ratelimit.web.estimate import OutputPolicy
from ratelimit.web.policy import Fail
from ratelimit.web.routes import Unknown
from tests.gateway.access import refusing


def wrong(options: dict[str, Any] | None = None, environ: dict[str, str] | None = None) -> str:
    """What is said about a configuration that cannot be."""
    with pytest.raises(ConfigError) as caught:
        load_config(options or {}, environ or {})
    return str(caught.value)


def test_nothing_needs_to_be_said() -> None:
    """Memory, the mock, and the loopback address."""
    config = load_config({}, {})
    assert config == GatewayConfig()
    assert config.is_mock
    assert (config.backend, config.host, config.port, config.unknown) == ("memory://", "127.0.0.1", 8000, "refuse")


def test_the_last_source_wins(tmp_path: Path) -> None:
    """Command line before environment before file before defaults, each for what it says."""
    file = tmp_path / "gateway.toml"
    file.write_text('port = 1\nhost = "a"\ngrace = 1\n')
    environ = {"RATELIMIT_CONFIG": str(file), "RATELIMIT_PORT": "2", "RATELIMIT_HOST": "b"}
    config = load_config({"port": 3, "host": None}, environ)
    assert (config.port, config.host, config.grace, config.fail) == (3, "b", 1, "closed")


def test_a_file_on_the_command_line_takes_the_place_of_the_environments(tmp_path: Path) -> None:
    """One file is read."""
    (tmp_path / "a.json").write_text('{"port": 1}')
    (tmp_path / "b.toml").write_text("grace = 2")
    config = load_config({}, {"RATELIMIT_CONFIG": str(tmp_path / "a.json")}, file=tmp_path / "b.toml")
    assert (config.port, config.grace) == (8000, 2)


def test_every_option_can_come_from_the_environment() -> None:
    """Under its name in capitals, with numbers and switches read from text; empty variables are unset."""
    texts = {
        "upstream": "https://api.example.com/v1",
        "upstream_key": " sk-upstream\n",
        "upstream_key_in": "authorization",
        "upstream_timeout": "1.5",
        "keys": "keys.toml",
        "plans": "plans.toml",
        "backend": "redis://localhost",
        "secret": "s",
        "host": "::",
        "port": "0",
        "fail": "open",
        "unknown": "charge",
        "output": "max_tokens",
        "on_upstream_error": "keep",
        "anonymous": "Lite",
        "trusted_hops": "2",
        "ask_usage": "yes",
        "ietf": "TRUE",
        "mock_tokens_per_second": "50",
        "mock_first_token": "0.2",
        "grace": "5",
        "access_log": "off",
        "log_level": "debug",
    }
    assert tuple(texts) == GatewayConfig.known_keys
    config = load_config({}, {f"RATELIMIT_{name.upper()}": text for name, text in texts.items()})
    values = config.model_dump()
    key = values.pop("upstream_key")
    assert key.get_secret_value() == "sk-upstream"
    assert values.pop("secret").get_secret_value() == "s"
    assert values == {
        "upstream": "https://api.example.com/v1",
        "upstream_key_in": "authorization",
        "upstream_timeout": 1.5,
        "keys": Path("keys.toml"),
        "plans": Path("plans.toml"),
        "backend": "redis://localhost",
        "host": "::",
        "port": 0,
        "fail": "open",
        "unknown": "charge",
        "output": "max_tokens",
        "on_upstream_error": "keep",
        "anonymous": "Lite",
        "trusted_hops": 2,
        "ask_usage": True,
        "ietf": True,
        "mock_tokens_per_second": 50.0,
        "mock_first_token": 0.2,
        "grace": 5,
        "access_log": False,
        "log_level": "debug",
    }
    assert load_config({}, {"RATELIMIT_PORT": "", "RATELIMIT_CONFIG": ""}) == GatewayConfig()


def test_what_a_file_names_is_beside_it(tmp_path: Path) -> None:
    """Relative paths do not depend on where the gateway is started."""
    file = tmp_path / "gateway.json"
    file.write_text('{"keys": "keys.toml", "plans": "/etc/plans.toml"}')
    config = load_config({}, {}, file=file)
    assert (config.keys, config.plans) == (tmp_path / "keys.toml", Path("/etc/plans.toml"))


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("port", "http", "port = 'http': must be a whole number from 0 to 65,535"),
        ("port", "65536", "port = 65536: must be a whole number from 0 to 65,535"),
        ("port", "-1", "port = -1: must be a whole number from 0 to 65,535"),
        ("grace", "1.5", "grace = '1.5': must be a whole number from 0 to 86,400"),
        ("upstream_timeout", "nan", "upstream_timeout = nan: must be a number from 1 to 86,400"),
        ("upstream_timeout", "inf", "upstream_timeout = inf: must be a number from 1 to 86,400"),
        ("ietf", "maybe", "ietf = 'maybe': must be true or false"),
        ("fail", "half", "fail = 'half': must be one of closed, open"),
        ("upstream", "localhost:8000", "upstream = 'localhost:8000': must be mock, or a URL such as"),
        ("upstream", "ftp://a", "upstream = 'ftp://a': must be mock, or a URL such as"),
        ("upstream", "http://a/?x=1", "upstream = 'http://a/?x=1': must be mock, or a URL such as"),
        ("upstream", "http://a:99999", "upstream = 'http://a:99999': must be mock, or a URL such as"),
        ("upstream", "http://", "upstream = 'http://': must be mock, or a URL such as"),
        ("host", " ", "host = ' ': must be a name or an address"),
    ],
)
def test_errors_name_source_field_value_and_rule(name: str, text: str, rule: str) -> None:
    """So that one look at the line is enough."""
    variable = f"RATELIMIT_{name.upper()}"
    assert wrong(environ={variable: text}).startswith(f"{variable}: {rule}")


def test_errors_of_the_command_line_and_of_files_name_them(tmp_path: Path) -> None:
    """An option, and a place in a file."""
    assert wrong({"port": True}).startswith("command line: port = True: must be a whole number")
    file = tmp_path / "gateway.toml"
    for text, said in (
        ("prot = 1", f"{file}: prot = 1: unknown key; known are upstream, "),
        ("port = '1'", f"{file}: port = '1': must be a whole number"),
        ("port = ", f"{file}: not valid TOML"),
        ("keys = 1", f"{file}: keys = 1: must be the path of a file"),
        ("ietf = 1", f"{file}: ietf = 1: must be true or false"),
    ):
        file.write_text(text)
        assert wrong(environ={"RATELIMIT_CONFIG": str(file)}).startswith(said)
    (tmp_path / "list.json").write_text("[1]")
    assert "must be a table of options" in wrong(environ={"RATELIMIT_CONFIG": str(tmp_path / "list.json")})
    assert wrong(environ={"RATELIMIT_CONFIG": "gateway.ini"}).startswith("gateway.ini: suffix '.ini': must be one of")
    missing = tmp_path / "none.toml"
    assert wrong(environ={"RATELIMIT_CONFIG": str(missing)}) == f"{missing}: cannot be read: No such file or directory"
    (tmp_path / "bytes.toml").write_bytes(b"port = 1\xff")
    assert "must be UTF-8 text" in wrong(environ={"RATELIMIT_CONFIG": str(tmp_path / "bytes.toml")})
    (tmp_path / "large.toml").write_bytes(b"#" * (1024 * 1024 + 1))
    assert "must be at most 1 MiB" in wrong(environ={"RATELIMIT_CONFIG": str(tmp_path / "large.toml")})


@pytest.mark.parametrize("name", ["secret", "upstream_key"])
def test_secrets_come_from_the_environment(tmp_path: Path, name: str) -> None:
    """Files are copied and committed; the error says where instead, and does not show the secret."""
    file = tmp_path / "gateway.toml"
    file.write_text(f'{name} = "sk-canary"')
    said = wrong(environ={"RATELIMIT_CONFIG": str(file)})
    assert said == f"{file}: {name}: must not stand in a file; set RATELIMIT_{name.upper()}"


def test_no_secret_is_shown() -> None:
    """Neither by a configuration nor by an error about one."""
    environ = {
        "RATELIMIT_UPSTREAM_KEY": "sk-canary",
        "RATELIMIT_SECRET": "sk-canary",
        "RATELIMIT_BACKEND": "redis://:sk-canary@localhost",
    }
    config = load_config({}, environ)
    assert "canary" not in repr(config)
    assert "canary" not in str(config)
    for variable, text in (("UPSTREAM_KEY", "sk-canary\r\nx: y"), ("UPSTREAM", "http://user:sk-canary@host")):
        assert "canary" not in wrong(environ={f"RATELIMIT_{variable}": text})


def test_the_choices_are_the_middlewares() -> None:
    """Every word that is taken there is taken here, and the other way round."""
    limiter = AsyncLimiter.from_url("memory://")
    for unknown in get_args(Unknown):
        for fail in get_args(Fail):
            for output in get_args(OutputPolicy):
                config = GatewayConfig(unknown=unknown, fail=fail, output=output)
                RateLimitMiddleware(
                    refusing,
                    limiter,
                    DemoKeys(limiter.plans),
                    unknown=config.unknown,
                    fail=config.fail,
                    output=config.output,
                )
