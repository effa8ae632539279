"""Promises of `ratelimit keys`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ratelimit.cli import app
from ratelimit.web.identity import Identity
from ratelimit.web.keys import ApiKeys
from ratelimit.web.keys.digest import VARIABLE
from tests.web.heads import bearer

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv("RATELIMIT_KEYS", raising=False)


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    result = CliRunner().invoke(app, ["keys", *arguments])
    return result.exit_code, result.stdout, result.stderr


def as_json(*arguments: str) -> Any:
    code, out, err = run(*arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def whose(key: str, file: str = "keys.toml") -> Identity | None:
    return ApiKeys(file)(bearer(key))


def test_a_key_is_made_listed_used_and_revoked() -> None:
    """The whole life of a key: the file is made, the key works, and after revoke it does not."""
    code, out, err = run("add", "--plan", "pro", "--subject", "alice", "--note", "her laptop")
    key = out.strip()
    assert (code, out) == (0, f"{key}\n")
    assert err.endswith(", subject alice, plan Pro: added to keys.toml. The key is not shown again.\n")
    assert err.count("\n") == 1
    key_id = err.split(",")[0]
    assert whose(key) == Identity.of("alice", "Pro")
    code, out, err = run("list")
    assert (code, err) == (0, "")
    assert [key_id, "alice", "Pro"] == out.splitlines()[3].split()[:3]
    assert out.splitlines()[3].rstrip().endswith("her laptop")
    assert run("revoke", key_id) == (0, f"{key_id}, subject alice, plan Pro: revoked in keys.toml.\n", "")
    assert whose(key) is None
    assert run("list") == (0, "keys.toml holds no keys.\n", "")


def test_the_key_is_shown_once() -> None:
    """Neither list nor revoke nor the file has it again, nor its digest where people look."""
    code, key, err = run("add", "--plan", "Lite")
    assert code == 0
    digest = Path("keys.toml").read_text().split('digest = "')[1].split('"')[0]
    later = [run("list"), run("list", "--json"), run("revoke", err.split(",")[0], "--json")]
    for part in (key.strip(), key.strip()[-12:], digest):
        assert part not in err
        assert part not in repr(later)


def test_an_organisation_is_shown_with_its_plan() -> None:
    """Its plan is needed the first time only."""
    run("add", "--plan", "Lite", "--organisation", "acme", "--organisation-plan", "max-20x")
    code, _, err = run("add", "--plan", "Pro", "--organisation", "acme")
    assert code == 0
    assert "plan Pro, organisation acme (MAX 20X): added to keys.toml." in err
    assert run("list")[1].count("acme (MAX 20X)") == 2


def test_json_is_for_programs() -> None:
    """add gives the key and what stands in the file, list all of them without keys, revoke what was taken out."""
    made = as_json("add", "--plan", "Pro", "--subject", "béa")
    assert whose(made.pop("key")) == Identity.of("béa", "Pro")
    assert list(made) == ["id", "subject", "plan", "organisation", "organisation_plan", "note", "created"]
    assert (made["subject"], made["plan"], made["organisation"]) == ("béa", "Pro", None)
    assert made["created"].endswith("+00:00")
    assert as_json("list") == [made]
    assert as_json("revoke", made["id"]) == made
    assert as_json("list") == []


def test_the_table_fits_100_columns() -> None:
    """Long texts are folded, not cut."""
    note = "a note that is rather long and says what this key is for, who asked for it, and when it ends"
    run("add", "--plan", "MAX 20X", "--subject", "s" * 60, "--organisation", "acme", "--organisation-plan", "Pro")
    run("add", "--plan", "Pro", "--note", note)
    _, out, _ = run("list")
    assert max(map(len, out.splitlines())) <= 100
    assert out.count("s" * 5) > 1
    assert "ends" in out


def test_the_file_can_be_named_by_option_and_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """--keys goes before RATELIMIT_KEYS, which goes before keys.toml."""
    monkeypatch.setenv("RATELIMIT_KEYS", "theirs.json")
    key = run("add", "--plan", "Pro", "--subject", "one")[1].strip()
    assert whose(key, "theirs.json") == Identity.of("one", "Pro")
    key = run("add", "--plan", "Pro", "--subject", "two", "--keys", "ours.toml")[1].strip()
    assert whose(key, "ours.toml") == Identity.of("two", "Pro")
    assert [entry["subject"] for entry in as_json("list")] == ["one"]
    assert not Path("keys.toml").exists()


def test_plans_of_ones_own_are_read_from_a_file() -> None:
    """As for the other commands, --plans replaces the built-in ones."""
    Path("plans.toml").write_text("[plans.Team]\nrpm = 5\n")
    assert as_json("add", "--plan", "team", "--plans", "plans.toml")["plan"] == "Team"
    assert run("add", "--plan", "Pro", "--plans", "plans.toml")[0] == 2


def test_the_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never from an option, which other users of the machine could read."""
    monkeypatch.setenv(VARIABLE, "pepper")
    key = run("add", "--plan", "Pro", "--subject", "alice")[1].strip()
    assert whose(key) == Identity.of("alice", "Pro")
    monkeypatch.delenv(VARIABLE)
    code, out, err = run("add", "--plan", "Pro")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("ratelimit: keys.toml: check: the keys were made with another secret or salt: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "--plan", "Gold"], "ratelimit: plan 'Gold': no such plan; known: "),
        (["add", "--plan", "Pro", "--plans", "none.toml"], "ratelimit: none.toml: cannot be read: No such file"),
        (["add", "--plan", "Pro", "--organisation", "acme"], "ratelimit: organisation 'acme': is new in keys.toml: "),
        (["add", "--plan", "Pro", "--subject", ""], "ratelimit: subject = <hidden>: must be text of 1 to 256"),
        (
            ["add", "--plan", "Pro", "--keys", "keys.yaml"],
            "ratelimit: keys.yaml: suffix '.yaml': a keys file must be one",
        ),
        (["add", "--plan", "Pro", "--keys", "no/keys.toml"], "ratelimit: no/keys.toml: its directory is not there; "),
        (["list"], "ratelimit: keys.toml: cannot be read: No such file or directory"),
        (["revoke", "k_1"], "ratelimit: keys.toml: cannot be read: No such file or directory"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    """On stderr, without a traceback, and nothing on stdout; no file is made."""
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert err.count("\n") == 1
    assert not Path("keys.toml").exists()


def test_a_key_given_for_an_id_is_not_repeated() -> None:
    """What was typed by mistake need not stand in logs as well."""
    key = run("add", "--plan", "Pro")[1].strip()
    code, out, err = run("revoke", key)
    assert (code, out) == (2, "")
    assert err == "ratelimit: keys.toml: no key has this id; `ratelimit keys list` shows the ids\n"


@pytest.mark.parametrize("module", ["filelock", "tomli_w"])
def test_a_missing_package_is_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line that installs it."""
    for name in ("store", "writing"):
        monkeypatch.delitem(sys.modules, f"ratelimit.web.keys.{name}", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    code, out, err = run("list")
    assert (code, out, err) == (2, "", f"ratelimit: keys need {module}: pip install 'llm-ratelimit[cli,web]'\n")


@pytest.mark.parametrize("command", ["plans", "--version"])
def test_other_commands_do_not_need_what_keys_need(command: str) -> None:
    """Nothing of the web parts is imported for them."""
    code = (
        "import sys\nfrom ratelimit.cli import app\n"
        f"app([{command!r}], standalone_mode=False)\n"
        "print({name for name in ('filelock', 'tomli_w', 'ratelimit.web') if name in sys.modules})"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
