"""Promises of `ratelimit.web.keys.ApiKeys`: who is identified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ratelimit import ConfigError, Limiter, Plan, PlanRegistry, Scope
from ratelimit.backends.memory import MemoryBackend
from ratelimit.testing import ManualClock
from ratelimit.web.identity import Identity
from ratelimit.web.keys import ApiKeys, new_key
from ratelimit.web.keys.digest import VARIABLE, KeyDigester
from ratelimit.web.keys.models import KeyEntry, KeysDocument
from ratelimit.web.keys.store import KeyStore
from ratelimit.web.keys.table import KeyTable
from tests.web.heads import bearer, head


@pytest.fixture(autouse=True)
def _no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def test_a_key_is_its_subject_under_its_plan(file: Path) -> None:
    """And nobody else's; the identity does not hold the key."""
    store = KeyStore(file)
    one, two = store.add("Pro", subject="alice"), store.add("Lite")
    identify = ApiKeys(file)
    assert identify(bearer(one.key)) == Identity.of("alice", "Pro")
    assert identify(bearer(two.key)) == Identity.of(two.entry.id, "Lite")


def test_an_organisation_is_charged_with_its_key(file: Path) -> None:
    """Both scopes in one group, the key's subject first; the engine decides them together."""
    issued = KeyStore(file).add("Pro", subject="alice", organisation="acme", organisation_plan="MAX 5X")
    identity = ApiKeys(file)(bearer(issued.key))
    assert identity == Identity((Scope("alice", "Pro"), Scope("acme", "MAX 5X")), group="acme")
    with Limiter(MemoryBackend(clock=ManualClock())) as limiter:
        limiter.acquire(identity.scopes, group=identity.group, tokens=1_000)
        assert [limit.remaining for limit in limiter.peek("acme", plan="MAX 5X")] == [299, 2_999_000]


@pytest.mark.parametrize("key", ["", "sk-rl-unknown", "k" * 5_000, "sk rl", "sk-\xe9"])
def test_an_unknown_key_is_nobody(file: Path, key: str) -> None:
    """Also one that cannot be a key at all, and none."""
    issued = KeyStore(file).add("Pro")
    identify = ApiKeys(file)
    assert identify(bearer(key)) is None
    assert identify(head()) is None
    assert identify(bearer(issued.key[:-1])) is None
    assert identify(bearer(f"{issued.key}x")) is None
    assert identify(bearer(issued.entry.id)) is None


@pytest.mark.parametrize(
    ("path", "winner"),
    [
        ("/v1/chat/completions", "bearer"),
        ("/v1/models", "bearer"),
        ("/v1/messages", "x-api-key"),
        ("/anthropic/v1/messages/count_tokens", "x-api-key"),
        ("/anthropic/v1/models", "x-api-key"),
    ],
)
def test_the_path_says_which_header_goes_first(file: Path, path: str, winner: str) -> None:
    """A request with two different keys is that of the header which its dialect documents."""
    store = KeyStore(file)
    keys = {subject: store.add("Pro", subject=subject).key for subject in ("bearer", "x-api-key")}
    both = head(("x-api-key", keys["x-api-key"]), ("authorization", f"Bearer {keys['bearer']}"), path=path)
    assert ApiKeys(file)(both) == Identity.of(winner, "Pro")


def test_the_secret_is_needed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file alone identifies nobody, and without the right secret nothing starts."""
    issued = KeyStore(file, secret="pepper").add("Pro", subject="alice")
    assert ApiKeys(file, secret=b"pepper")(bearer(issued.key)) == Identity.of("alice", "Pro")
    for wrong in (None, "salt", ""):
        with pytest.raises(
            ConfigError, match=rf"keys.toml: check: .* another secret or salt: set {VARIABLE} to the secret"
        ):
            ApiKeys(file, secret=wrong)
    monkeypatch.setenv(VARIABLE, "pepper")
    assert ApiKeys(file)(bearer(issued.key)) == Identity.of("alice", "Pro")


def test_plans_are_checked_when_they_are_known(file: Path) -> None:
    """A plan that does not exist is found at the start, and not by the first request."""
    KeyStore(file).add("Lite", organisation="acme", organisation_plan="Pro")
    assert ApiKeys(file, plans=PlanRegistry())
    own = PlanRegistry([Plan("Lite", rpm=1)])
    with pytest.raises(
        ConfigError, match=r"keys.toml: keys\[0\].organisation_plan: plan 'Pro': no such plan; known: 'Lite'$"
    ):
        ApiKeys(file, plans=own)
    with pytest.raises(ConfigError, match=r"keys.toml: keys\[0\].plan: plan 'Lite': no such plan; "):
        ApiKeys(file, plans=PlanRegistry([Plan("Pro", rpm=1)]))


@pytest.mark.parametrize("name", ["id", "subject", "organisation", "note"])
def test_a_file_that_holds_a_key_in_the_clear_is_refused(name: str) -> None:
    """No subject is ever an API key, even if somebody writes one there by hand."""
    digester, key = KeyDigester(b"s" * 32, b""), new_key()
    body = {"id": "k_1", "digest": digester(key), "plan": "Pro", "organisation": "acme", "organisation_plan": "Pro"}
    document = KeysDocument(
        version=1, salt=b"s" * 32, check=digester.check, keys=(KeyEntry.build({**body, name: key}, at=""),)
    )
    with pytest.raises(
        ConfigError, match=rf"^keys\[0\].{name}: is the API key itself, which must not be written"
    ) as caught:
        KeyTable.of(document, b"", None)
    assert key not in str(caught.value)


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), True, "1"])
def test_the_interval_is_a_number_of_seconds(file: Path, wrong: Any) -> None:
    """0 looks at every request; anything that is no time is refused."""
    KeyStore(file).add("Pro")
    with pytest.raises(ConfigError, match=r"^reload_every is .*: must be seconds from 0, such as 1.0$"):
        ApiKeys(file, reload_every=wrong)


def test_a_missing_or_wrong_file_is_an_error_at_the_start(file: Path) -> None:
    """A gateway without keys would refuse everybody, and nobody would know why."""
    with pytest.raises(ConfigError, match=r"keys.toml: cannot be read: No such file or directory$"):
        ApiKeys(file)
    file.write_text("version = 1\n")
    with pytest.raises(ConfigError, match=r"keys.toml: salt: is required; check: is required$"):
        ApiKeys(file)
    with pytest.raises(ConfigError, match=r"^keys.yaml: suffix '.yaml': a keys file must be one of .toml, .json$"):
        ApiKeys("keys.yaml")
