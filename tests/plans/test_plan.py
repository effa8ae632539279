"""Promises of `ratelimit.plans.models.Plan` and of the built-in plans."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.errors import ConfigError
from ratelimit.plans import BUILTIN_PLANS, Limit, Plan


def test_the_builtin_plans_are_those_of_the_api() -> None:
    """The four plans carry the numbers of the API's documentation."""
    assert [(plan.name, plan.rpm, plan.tpm) for plan in BUILTIN_PLANS] == [
        ("Lite", 10, 60_000),
        ("Pro", 60, 600_000),
        ("MAX 5X", 300, 3_000_000),
        ("MAX 20X", 1_200, 12_000_000),
    ]


def test_shorthands_are_limits_per_minute() -> None:
    """`rpm` and `tpm`, as numbers or rates, are the limits that one could write in full."""
    full = [Limit("tokens", 600_000, "minute"), Limit("requests", 60, "minute")]
    plans = [Plan("Pro", rpm=60, tpm="600000/minute"), Plan("Pro", rpm="60 per 60 seconds", tpm=600_000)]
    assert plans == [Plan("Pro", limits=full)] * 2
    assert len({*plans}) == 1


def test_limits_stand_in_a_fixed_order() -> None:
    """Requests and tokens per minute come first, the others as written; the layout follows."""
    daily, output = Limit("requests", rate="5000/day"), Limit("output_tokens", rate="1000/minute")
    plan = Plan("Pro", rpm=60, tpm=600_000, limits=[daily, output])
    assert plan.limits == (Limit("requests", 60, 60), Limit("tokens", 600_000, 60), daily, output)
    assert plan.layout.specs == tuple(limit.spec for limit in plan.limits)


def test_a_plan_has_one_layout() -> None:
    """The layout is the same object every time, named as the plan."""
    plan = Plan("Pro", rpm=60)
    assert plan.layout is plan.layout
    assert plan.layout.name == "Pro"


def test_another_name_or_limit_is_another_plan() -> None:
    """Plans are equal by name and limits, and by nothing else."""
    assert Plan("Pro", rpm=60) != Plan("Pro", rpm=61)
    assert Plan("Pro", rpm=60) != Plan("pro", rpm=60)


def test_what_is_not_limited_has_no_shorthand() -> None:
    """A plan without tokens per minute says None, not a number."""
    assert Plan("Pro", limits=[Limit("tokens", rate="5/day")]).tpm is None


@given(st.integers(1, 10**6), st.lists(st.integers(1, 500), unique=True, max_size=4))
def test_a_plan_survives_a_round_trip(rpm: int, periods: list[int]) -> None:
    """A dumped plan validates to an equal one, through Python values and through JSON."""
    plan = Plan("Pro", rpm=rpm, limits=[Limit("tokens", 5, f"{period}ms", burst=7) for period in periods])
    assert Plan.model_validate(plan.model_dump()) == plan
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda plan: pickle.loads(pickle.dumps(plan))])
def test_a_copy_is_equal(twin: Any) -> None:
    """Copies and pickles are equal and lay out the same buckets."""
    plan = Plan("Pro", rpm=60)
    assert twin(plan) == plan
    assert twin(plan).layout.specs == plan.layout.specs


def test_a_changed_copy_has_its_own_layout() -> None:
    """A copy with another name lays out under that name."""
    assert Plan("Pro", rpm=60).model_copy(update={"name": "Other"}).layout.name == "Other"


GOOD = {"meter": "a", "rate": "1/day"}


@pytest.mark.parametrize(
    ("body", "path", "value", "rule"),
    [
        ({"name": "", "rpm": 1}, "Plan.name", "''", "must be text of 1 to 64 printable"),
        ({"name": "a\nb", "rpm": 1}, "Plan.name", r"'a\nb'", "must be text of 1 to 64 printable"),
        ({"name": "-", "rpm": 1}, "Plan.name", "'-'", "must hold more than"),
        ({"name": "P", "rpm": 0}, "Plan.rpm", "0", "must be a whole number"),
        ({"name": "P", "rpm": True}, "Plan.rpm", "True", "must be a whole number"),
        ({"name": "P", "rpm": 60.0}, "Plan.rpm", "60.0", "must be a whole number"),
        ({"name": "P", "rpm": "60"}, "Plan.rpm", "'60'", "must be a rate like"),
        ({"name": "P", "rpm": "60/hour"}, "Plan.rpm", "'60/hour'", "use limits = [...]"),
        ({"name": "P", "tpm": "5 per 2 minutes"}, "Plan.tpm", "'5 per 2 minutes'", "use limits = [...]"),
        ({"name": "P", "tpm": 2**45}, "Plan.tpm", str(2**45), "does not fit exact arithmetic"),
        ({"name": "P", "rpm": 1, "burst": 3}, "Plan.burst", "3", "unknown key; known are name, rpm, tpm, limits"),
        ({"name": "P", "limits": "1/day"}, "Plan.limits", "'1/day'", "must be a list of limits"),
        ({"name": "P", "limits": ["1/day"]}, "Plan.limits[0]", "'1/day'", "must be a table"),
        (
            {"name": "P", "rpm": 1, "limits": [GOOD, {**GOOD, "rate": "0/day"}]},
            "Plan.limits[1].rate",
            "'0/day'",
            "whole",
        ),
        ({"name": "P", "limits": [{"meter": "a", "amount": 0, "period": 1}]}, "Plan.limits[0].amount", "0", "whole"),
        (
            {"name": "P", "limits": [GOOD, GOOD]},
            "Plan.limits",
            "1 a per day; 1 a per day",
            "same meter and period twice",
        ),
        (
            {"name": "P", "rpm": 1, "limits": [Limit("requests", 5, 60)]},
            "Plan.limits",
            "5 requests per minute",
            "twice",
        ),
        ({"name": "P"}, "Plan.limits", "()", "would be unlimited"),
        ({"name": "P", "limits": []}, "Plan.limits", "()", "would be unlimited"),
        ({"name": "P", "limits": [{"meter": f"m{n}", "rate": "1/day"} for n in range(65)]}, "Plan", "{", "at most 64"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], path: str, value: str, rule: str) -> None:
    """A call and a validation both raise ConfigError with path, value and rule."""
    for build in (lambda body: Plan(**body), Plan.model_validate):
        with pytest.raises(ConfigError) as caught:
            build(body)
        text = str(caught.value)
        assert text.startswith(f"{path} = ")
        assert value in text
        assert rule in text


def test_every_door_raises_config_error() -> None:
    """JSON, text values and a wrong kind of thing raise ConfigError too."""
    with pytest.raises(ConfigError, match=r"Plan\.rpm = nan: must be a whole number"):
        Plan.model_validate_json('{"name": "P", "rpm": NaN}')
    with pytest.raises(ConfigError, match=r"Plan = .*Invalid JSON"):
        Plan.model_validate_json('{"name"')
    with pytest.raises(ConfigError, match=r"Plan\.rpm = '60': must be a rate"):
        Plan.model_validate_strings({"name": "P", "rpm": "60"})
    with pytest.raises(ConfigError, match=r"Plan = 5: must be a table"):
        Plan.model_validate(5)


def test_an_error_shows_no_traceback_of_pydantic() -> None:
    """The ValidationError behind a ConfigError is not printed with it."""
    with pytest.raises(ConfigError) as caught:
        Plan("P", rpm=0)
    assert caught.value.__suppress_context__


def test_many_errors_are_told_together_up_to_a_number() -> None:
    """Five things that are wrong are named, the others counted."""
    limits: Any = [{"meter": "a", "amount": 0, "period": 60}] * 9
    with pytest.raises(ConfigError) as caught:
        Plan("P", limits=limits)
    assert str(caught.value).count("amount = 0") == 5
    assert str(caught.value).endswith("; and 4 more")


def test_a_forgotten_value_in_a_file_is_not_unlimited() -> None:
    """`tpm:` without a value, which YAML reads as None, is refused rather than left out."""
    with pytest.raises(ConfigError, match=r"Plan\.tpm = None: must be a whole number"):
        Plan.model_validate({"name": "P", "rpm": 5, "tpm": None})


def test_a_plan_reads_as_a_sentence() -> None:
    """`str` is for people."""
    assert str(Plan("Pro", rpm=60, tpm=600_000)) == "Pro: 60 requests per minute; 600,000 tokens per minute"
