"""Promises of `ratelimit.plans.registry`."""

from __future__ import annotations

import copy
import itertools
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.errors import ConfigError
from ratelimit.plans import BUILTIN_PLANS, Limit, Plan, PlanRegistry

SPELLINGS = ["MAX 5X", "max-5x", "max_5x", "Max__5x", "mAX -_5x"]


def test_without_plans_it_holds_the_builtin_ones() -> None:
    """The four built-in plans are there in order, as the same objects."""
    registry = PlanRegistry()
    assert registry.names == ("Lite", "Pro", "MAX 5X", "MAX 20X")
    assert all(one is other for one, other in zip(registry, BUILTIN_PLANS, strict=True))
    assert len(registry) == 4


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_finds_the_plan(spelling: str) -> None:
    """Case and separators do not count, the first time and when remembered."""
    registry = PlanRegistry()
    found = [registry[spelling], registry.get(spelling), registry.resolve(spelling), registry[spelling]]
    assert {id(plan) for plan in found} == {id(BUILTIN_PLANS[2])}
    assert spelling in registry


@given(st.text(max_size=100))
def test_any_text_finds_a_plan_or_raises(name: str) -> None:
    """Whatever is asked for, the answer is a plan of the registry or ConfigError; membership agrees."""
    registry = PlanRegistry()
    try:
        plan: Plan | None = registry.get(name)
    except ConfigError:
        plan = None
    assert (plan is not None) == (name in registry)


@pytest.mark.parametrize("ask", [PlanRegistry.get, PlanRegistry.__getitem__, PlanRegistry.resolve])
def test_a_missing_plan_is_an_error_with_a_hint(ask: Any) -> None:
    """The error names what was asked for, the nearest plans and all known ones."""
    with pytest.raises(ConfigError) as caught:
        ask(PlanRegistry(), "prro")
    text = "plan 'prro': no such plan; did you mean 'Pro'? known: 'Lite', 'Pro', 'MAX 5X', 'MAX 20X'"
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "plan '': no such plan; known: 'Lite'"),
        ("x" * 10**6, "...xxx"),
        (None, "plan None: must be a name or a Plan"),
        (5, "plan 5: must be a name or a Plan"),
        ([], "plan []: must be a name or a Plan"),
    ],
)
def test_nothing_else_is_a_plan(name: Any, text: str) -> None:
    """Empty, huge and other values are refused with a short text, never taken for "unlimited"."""
    with pytest.raises(ConfigError) as caught:
        PlanRegistry().resolve(name)
    assert text in str(caught.value)
    assert len(str(caught.value)) < 250
    assert name not in PlanRegistry()


def test_a_plan_resolves_to_itself() -> None:
    """A Plan passes through, known to the registry or not."""
    plan = Plan("Own", rpm=1)
    assert PlanRegistry().resolve(plan) is plan
    assert plan not in PlanRegistry()
    assert PlanRegistry().with_plans(plan).resolve("own") is plan


def test_a_plan_of_another_making_is_not_in_the_registry() -> None:
    """Membership of a Plan asks for the same name and limits."""
    assert Plan("Pro", rpm=60, tpm=600_000) in PlanRegistry()
    assert Plan("Pro", rpm=61, tpm=600_000) not in PlanRegistry()


def test_an_empty_registry_knows_nothing() -> None:
    """No plans means that every name is an error."""
    with pytest.raises(ConfigError, match="plan 'Pro': no such plan; known: none"):
        PlanRegistry([])["Pro"]


@pytest.mark.parametrize("name", ["max-5x", "MAX  5x", "max_5X"])
def test_one_name_holds_one_plan(name: str) -> None:
    """Two plans whose names differ only in spelling are refused."""
    with pytest.raises(ConfigError, match=f"'{name}' and 'MAX 5X' are the same name"):
        PlanRegistry([*BUILTIN_PLANS, Plan(name, rpm=1)])


@pytest.mark.parametrize("plans", [["Pro"], BUILTIN_PLANS[0], [None], [{"name": "A", "rpm": 1}]])
def test_only_plans_are_held(plans: Any) -> None:
    """Names, bodies and a plan given bare are refused."""
    with pytest.raises(ConfigError, match="must be a Plan"):
        PlanRegistry(plans)


def test_with_plans_leaves_the_old_registry_alone() -> None:
    """A new registry holds the new plans, the old one what it held; a known name is replaced in place."""
    old = PlanRegistry()
    new = old.with_plans(Plan("pro", rpm=1), Plan("Own", rpm=2))
    assert old.names == ("Lite", "Pro", "MAX 5X", "MAX 20X")
    assert new.names == ("Lite", "pro", "MAX 5X", "MAX 20X", "Own")
    assert (old["Pro"].rpm, new["Pro"].rpm) == (60, 1)


def test_with_plans_refuses_twins_among_the_new() -> None:
    """Replacing is for what the registry held: two new plans of one name are a mistake."""
    with pytest.raises(ConfigError, match="'own' and 'Own' are the same name"):
        PlanRegistry().with_plans(Plan("Own", rpm=1), Plan("own", rpm=2))


def test_two_limits_never_share_a_tag() -> None:
    """Meters whose buckets would be taken for one another are refused over all plans."""
    tags: dict[bytes, str] = {}
    for number in itertools.count():
        meter = f"m{number}"
        twin = tags.setdefault(Limit(meter, 1, 60).spec.tag, meter)
        if twin != meter:
            break
    plans = [Plan("A", limits=[Limit(twin, 1, 60)]), Plan("B", limits=[Limit(meter, 1, 60)])]
    with pytest.raises(
        ConfigError, match=f"plan 'B': 1 {meter} per minute shares its tag .* meter '{twin}' per 60000000"
    ):
        PlanRegistry(plans)


def test_remembered_spellings_are_bounded() -> None:
    """Endless spellings of one plan cost bounded memory and are all still found."""
    registry = PlanRegistry()
    for count in range(3_000):
        assert registry["max" + "-" * (count + 1) + "5x"] is BUILTIN_PLANS[2]
    assert len(registry._spellings) <= 1_024


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda registry: pickle.loads(pickle.dumps(registry))])
def test_a_registry_can_go_to_another_process(twin: Any) -> None:
    """Copies and pickles hold equal plans."""
    assert tuple(twin(PlanRegistry())) == BUILTIN_PLANS


def test_its_repr_lists_the_plans() -> None:
    """A registry shows the names it holds."""
    assert repr(PlanRegistry()) == "PlanRegistry('Lite', 'Pro', 'MAX 5X', 'MAX 20X')"


def test_a_file_alone_holds_its_plans(tmp_path: Path) -> None:
    """Without `builtin` only the plans of the file are there."""
    file = tmp_path / "p.toml"
    file.write_text("[plans.pro]\nrpm = 1\n[plans.Own]\nrpm = 2\n")
    assert PlanRegistry.from_file(str(file)).names == ("pro", "Own")


def test_a_file_lies_over_the_builtin_plans(tmp_path: Path) -> None:
    """With `builtin` the four are there too, and the file's plan of the same name wins."""
    file = tmp_path / "p.toml"
    file.write_text("[plans.pro]\nrpm = 1\n[plans.Own]\nrpm = 2\n")
    registry = PlanRegistry.from_file(file, builtin=True)
    assert registry.names == ("Lite", "pro", "MAX 5X", "MAX 20X", "Own")
    assert registry["PRO"].rpm == 1


@pytest.mark.parametrize("builtin", [False, True])
def test_twins_in_a_file_are_named_with_the_file(tmp_path: Path, builtin: bool) -> None:
    """Two spellings of one name in a file are an error that names the file."""
    file = tmp_path / "p.toml"
    file.write_text("[plans.Own]\nrpm = 1\n[plans.own]\nrpm = 2\n")
    with pytest.raises(ConfigError) as caught:
        PlanRegistry.from_file(file, builtin=builtin)
    assert str(caught.value) == f"{file}: plans: 'own' and 'Own' are the same name; keep one or rename it"
