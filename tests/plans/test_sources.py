"""Promises of `ratelimit.plans.sources` and `ratelimit.plans.formats`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ratelimit.errors import ConfigError
from ratelimit.plans import Limit, Plan
from ratelimit.plans.sources import FILE_MAX_BYTES, load_plans

EXPECTED = (
    Plan("Pro", rpm=60, tpm=600_000, limits=[Limit("requests", rate="5000/day")]),
    Plan("Team One", rpm=5, limits=[Limit("tokens", 9, "500ms", burst=20)]),
)

TOML_TABLE = """
[plans.Pro]
rpm = 60
tpm = "600000/minute"
[[plans.Pro.limits]]
meter = "requests"
rate = "5000/day"
[plans."Team One"]
rpm = 5
limits = [{meter = "tokens", amount = 9, period = "500ms", burst = 20}]
"""
TOML_LIST = """
[[plans]]
name = "Pro"
rpm = 60
tpm = 600_000
limits = [{meter = "requests", amount = 5000, period = "day"}]
[[plans]]
name = "Team One"
rpm = "5/minute"
limits = [{meter = "tokens", amount = 9, period = "500ms", burst = 20}]
"""
YAML_TABLE = """
plans:
  Pro:
    rpm: &rpm 60
    tpm: 600000/minute
    limits: [{meter: requests, rate: 5000/day}]
  Team One:
    rpm: 5
    limits:
      - {meter: tokens, amount: 9, period: 500ms, burst: 20}
"""
JSON_TABLE = """{"plans": {
  "Pro": {"rpm": 60, "tpm": 600000, "limits": [{"meter": "requests", "rate": "5000/day"}]},
  "Team One": {"rpm": 5, "limits": [{"meter": "tokens", "amount": 9, "period": "500ms", "burst": 20}]}
}}"""


def write(folder: Path, name: str, text: str) -> Path:
    """Write a plan file as UTF-8 and return its path."""
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.toml", TOML_TABLE),
        ("p.toml", TOML_LIST),
        ("p.yaml", YAML_TABLE),
        ("P.YML", YAML_TABLE),
        ("p.json", JSON_TABLE),
        ("p.json", "\ufeff" + JSON_TABLE),
    ],
)
def test_every_format_says_the_same(tmp_path: Path, name: str, text: str) -> None:
    """Tables and lists, with or without a byte order mark, give equal plans in the file's order."""
    assert load_plans(write(tmp_path, name, text)) == EXPECTED


def test_yaml_merges_are_not_twins(tmp_path: Path) -> None:
    """A merged key may be overridden: that is what merging is for."""
    text = "plans:\n  A: &a {rpm: 1, tpm: 5}\n  B: &b {<<: *a, rpm: 2}\n  C: {<<: *b, rpm: 3}\n"
    assert [(plan.rpm, plan.tpm) for plan in load_plans(write(tmp_path, "p.yaml", text))] == [(1, 5), (2, 5), (3, 5)]


@pytest.mark.parametrize(
    ("name", "text", "where", "value", "rule"),
    [
        ("p.toml", "[plans.Pro]\nrpm = 0", "plans.Pro.rpm", "0", "must be a whole number"),
        ("p.toml", "[plans.Pro]\nrpm = nan", "plans.Pro.rpm", "nan", "must be a whole number"),
        ("p.toml", "[plans.Pro]\nrpm = 2001-01-01", "plans.Pro.rpm", "datetime.date", "must be a whole number"),
        ("p.toml", f"[plans.Pro]\nrpm = 0x{'f' * 9000}", "plans.Pro.rpm", "36000 bits", "must be a whole number"),
        ("p.toml", "[plans.Pro]\nrmp = 5", "plans.Pro.rmp", "5", "unknown key; known are name, rpm"),
        ("p.toml", "[plans.Pro]\nname = 'x'", "plans.Pro.name", "'x'", "leave it out"),
        ("p.toml", '[plans."MAX 5X"]\nrpm = 0', 'plans."MAX 5X".rpm', "0", "must be a whole number"),
        ("p.toml", "[plans.Pro]", "plans.Pro.limits", "()", "would be unlimited"),
        (
            "p.toml",
            "[[plans.Pro.limits]]\nmeter='a'\namount=1.5\nperiod=1",
            "plans.Pro.limits[0].amount",
            "1.5",
            "whole",
        ),
        ("p.toml", "[[plans]]\nname='A'\nrpm=1\n[[plans]]\nname='B'\nrpm=0", "plans[1].rpm", "0", "whole"),
        ("p.toml", "[[plans]]\nrpm=1", "plans[0].name", "", "is required"),
        ("p.toml", "rpm = 5", "plans", "", "is required at the top"),
        ("p.toml", "plan = 5\n[plans.A]\nrpm=1", "plan", "5", "unknown key; the only one at the top is plans"),
        ("p.toml", "plans = 5", "plans", "5", "must be a table from names to plans"),
        ("p.toml", "plans = []", "plans", "[]", "holds no plan"),
        ("p.toml", "[plans]\nA = 5", "plans.A", "5", "must be a table with rpm, tpm or limits"),
        ("p.toml", "[plans.A]\nrpm = \n", "not valid TOML", "", "line 2"),
        ("p.toml", "[plans.A]\nrpm = 1\nrpm = 2\n", "not valid TOML", "", "line 3"),
        ("p.toml", f"a = {'[' * 100_000}", "not valid TOML", "", "recursion"),
        ("p.json", '{"plans": {"A": {"rpm": 1, "rpm": 2}}}', "'rpm'", "2", "given twice"),
        ("p.json", '{"plans": {"A": {"rpm": NaN}}}', "NaN", "NaN", "not a number that JSON knows"),
        ("p.json", '{"plans": {"A": {"rpm": -Infinity}}}', "-Infinity", "-Infinity", "not a number that JSON knows"),
        ("p.json", '{"plans": {"A": {"rpm": 1e999}}}', "plans.A.rpm", "inf", "must be a whole number"),
        ("p.json", '{"plans": {"A": {"rpm": true}}}', "plans.A.rpm", "True", "must be a whole number"),
        ("p.json", '{"plans": {"A": {"rpm": null}}}', "plans.A.rpm", "None", "must be a whole number"),
        ("p.json", '{"plans": \n{"A"}}', "not valid JSON", "", "line 2"),
        ("p.json", f'{{"plans": {"9" * 5000}}}', "not valid JSON", "", "4300 digits"),
        ("p.json", "[" * 100_000, "not valid JSON", "", "recursion"),
        ("p.json", "[]", "plans", "", "is required at the top"),
        ("p.yaml", "plans:\n  A:\n    rpm: 1\n    rpm: 2\n", "line 4", "'rpm'", "given twice"),
        ("p.yaml", "plans:\n  A: {rpm: 1}\n  'A': {rpm: 2}\n", "line 3", "'A'", "given twice"),
        ("p.yaml", "plans:\n  A:\n    tpm:\n    rpm: 1\n", "plans.A.tpm", "None", "must be a whole number"),
        ("p.yaml", "plans:\n  A: {rpm: .nan}\n", "plans.A.rpm", "nan", "must be a whole number"),
        ("p.yaml", "plans:\n  5: {rpm: 1}\n", "plans", "5", "must be text; put it in quotes"),
        ("p.yaml", "plans:\n  [a]: {rpm: 1}\n", "line 2", "", "a key must be text"),
        ("p.yaml", "plans: &a\n  A: *a\n", "plans.A.A", "", "unknown key"),
        ("p.yaml", "plans:\n  A: {rpm: 1\n", "not valid YAML", "", "line 3"),
        ("p.yaml", "plans: !!python/object:os.system {}\n", "not valid YAML", "", "line 1"),
        ("p.yaml", "plans: 2001-99-99\n", "not valid YAML", "", "month"),
        ("p.yaml", "[" * 20_000, "not valid YAML", "", "recursion"),
        ("p.yaml", "plans:\n  A: &a {rpm: 1}\n  B: {<<: [*a, *a]}\n", "line 3", "'<<'", "must merge one mapping"),
        ("p.yaml", "", "plans", "", "is required at the top"),
        ("p.txt", "", "suffix '.txt'", "'.txt'", "must be one of .toml, .yaml, .yml, .json"),
        ("plans", "", "suffix ''", "''", "must be one of"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, text: str, where: str, value: str, rule: str) -> None:
    """Every error names the file, the place in it, the value and the rule, in a text of bounded length."""
    file = write(tmp_path, name, text)
    with pytest.raises(ConfigError) as caught:
        load_plans(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert where in message
    assert value in message
    assert rule in message
    assert len(message) < len(str(file)) + 400


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    """A file that is not there is named, with the reason of the system."""
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load_plans(tmp_path / "none.toml")


def test_a_folder_is_a_config_error(tmp_path: Path) -> None:
    """What cannot be read as a file is named, with the reason of the system."""
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ConfigError, match=r"folder\.toml: cannot be read: Is a directory"):
        load_plans(tmp_path / "folder.toml")


def test_a_path_that_no_system_has_is_a_config_error() -> None:
    """A null character in the path is a configuration error, shown escaped."""
    with pytest.raises(ConfigError, match=r"cannot be read"):
        load_plans("a\0b.toml")


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    """A file above 1 MiB is not parsed; one of exactly 1 MiB is."""
    text = TOML_TABLE + "#" * (FILE_MAX_BYTES - len(TOML_TABLE))
    assert load_plans(write(tmp_path, "p.toml", text)) == EXPECTED
    with pytest.raises(ConfigError, match=r"larger than 1048576 bytes: .* at most 1 MiB"):
        load_plans(write(tmp_path, "p.toml", text + "#"))


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are named with their line."""
    file = tmp_path / "p.toml"
    file.write_bytes(b"# one\n# \xe9\n")
    with pytest.raises(ConfigError, match=r"p\.toml: line 2: byte 0xe9: must be UTF-8"):
        load_plans(file)


def test_yaml_without_its_parser_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML is optional, and its absence is told with the command that brings it."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigError, match=r"p\.yaml: .*pip install 'llm-ratelimit\[yaml\]'"):
        load_plans(write(tmp_path, "p.yaml", YAML_TABLE))
