"""What an operator writes: a plan is a name and its limits. Valid by construction, immutable, ready for the engine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self

from pydantic import BeforeValidator, Field, field_validator, model_serializer, model_validator

from ratelimit.core.limit import BucketSpec, Layout
from ratelimit.plans import notation
from ratelimit.plans.faults import fault
from ratelimit.plans.strict import StrictModel
from ratelimit.plans.weights import TokenWeights

__all__ = (
    "Limit",
    "Plan",
)

_SHORTHANDS: Final = {"rpm": "requests", "tpm": "tokens"}
_RATE_OR_PARTS: Final = 'give either rate ("60/minute"), or amount and period'


class Limit(StrictModel):
    """At most `amount` of a meter per period, and at most `burst` at once.

    Written as `Limit("tokens", amount=600_000, period="minute")` or `Limit("tokens", rate="600000/minute")`. A
    period is whole seconds or text ("30s", "500ms", "5 minutes", "day"). Two equal limits have equal specs.

    Raises:
        ConfigError: path, value and rule of what is wrong, or numbers that do not fit exact arithmetic.
    """

    known_keys: ClassVar[tuple[str, ...]] = ("meter", "amount", "period", "rate", "burst")
    positional: ClassVar[tuple[str, ...]] = ("meter", "amount", "period")

    meter: Annotated[str, BeforeValidator(notation.meter_name)]
    """What is counted: `requests`, `tokens`, …"""
    amount: Annotated[int, BeforeValidator(notation.whole)]
    """How much of the meter drains per period."""
    period_us: Annotated[int, BeforeValidator(notation.period_in_us)] = Field(validation_alias="period")
    """Length of the period in microseconds; written as `period`."""
    burst: Annotated[int, BeforeValidator(notation.whole)] = Field(default_factory=lambda data: data["amount"])
    """How much fits at once, in the meter's own amounts; the amount unless given."""

    if TYPE_CHECKING:  # the signature for callers; StrictModel.__init__ does the work

        def __init__(
            self,
            meter: str,
            amount: int | None = None,
            period: int | str | None = None,
            *,
            rate: str | None = None,
            burst: int | None = None,
        ) -> None: ...

    @cached_property
    def spec(self) -> BucketSpec:
        """The exact arithmetic of this limit; computed when the limit is built."""
        return BucketSpec.of(meter=self.meter, amount=self.amount, period_us=self.period_us, burst=self.burst)

    def __str__(self) -> str:
        return str(self.spec) if self.burst == self.amount else f"{self.spec} with a burst of {self.burst:,}"

    @model_validator(mode="before")
    @classmethod
    def _expand_rate(cls, data: object) -> object:
        """Replace `rate` by the amount and the period that it stands for."""
        if isinstance(data, cls):
            return data
        body = cls._known(data)
        if "rate" not in body:
            if not {"amount", "period"} & body.keys():
                raise fault(None, data, _RATE_OR_PARTS)
            return body
        rate = body.pop("rate")
        if {"amount", "period"} & body.keys():
            raise fault("rate", rate, f"{_RATE_OR_PARTS}, not both")
        try:
            body["amount"], body["period"] = notation.rate_parts(rate)
        except ValueError as error:
            raise fault("rate", rate, str(error)) from None
        return body

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse numbers that do not fit exact arithmetic now, not at the first request."""
        _ = self.spec
        return self

    @model_serializer
    def _written(self) -> dict[str, Any]:
        """Dump what `model_validate` reads back: `period`, not `period_us`."""
        period = notation.period_text(self.period_us)
        return {"meter": self.meter, "amount": self.amount, "period": period, "burst": self.burst}


class Plan(StrictModel):
    """A named set of limits, all of which apply.

    Written as `Plan("Pro", rpm=60, tpm=600_000)`: `rpm` and `tpm` are requests and tokens per minute, as a number or
    in the notation of `limits` ("60/minute"); `limits` holds whatever else applies. However it was written, `limits`
    then holds every limit, requests and tokens per minute first, so plans with the same rules are equal. `weights`
    says how much a token of each class counts where usage is read from responses (`ratelimit.web`).

    Raises:
        ConfigError: path, value and rule of what is wrong; no limit at all; the same meter and period twice.
    """

    known_keys: ClassVar[tuple[str, ...]] = ("name", "rpm", "tpm", "limits", "weights")
    positional: ClassVar[tuple[str, ...]] = ("name",)

    name: Annotated[str, BeforeValidator(notation.plan_name)]
    limits: tuple[Limit, ...]
    weights: TokenWeights = TokenWeights()

    if TYPE_CHECKING:  # the signature for callers; StrictModel.__init__ does the work

        def __init__(
            self,
            name: str,
            *,
            rpm: int | str | None = None,
            tpm: int | str | None = None,
            limits: Sequence[Limit] | None = None,
            weights: TokenWeights | None = None,
        ) -> None: ...

    @property
    def rpm(self) -> int | None:
        """Requests per minute, or None when no limit counts them."""
        return self._per_minute("requests")

    @property
    def tpm(self) -> int | None:
        """Tokens per minute, or None when no limit counts them."""
        return self._per_minute("tokens")

    @cached_property
    def layout(self) -> Layout:
        """The buckets of this plan: always the same object, because the hot path compares layouts by identity."""
        return Layout(name=self.name, specs=tuple(limit.spec for limit in self.limits))

    def __str__(self) -> str:
        return f"{self.name}: {'; '.join(map(str, self.limits))}"

    @model_validator(mode="before")
    @classmethod
    def _expand_shorthands(cls, data: object) -> object:
        """Append what `rpm` and `tpm` stand for to `limits`: at the end, so that indices in errors stay as written."""
        if isinstance(data, cls):
            return data
        body = cls._known(data)
        limits = body.get("limits", ())
        if not isinstance(limits, list | tuple):
            raise fault("limits", limits, "must be a list of limits")
        shorthands = [_per_minute_limit(key, body.pop(key)) for key in _SHORTHANDS if key in body]
        return {**body, "limits": (*limits, *shorthands)}

    @field_validator("limits")
    @classmethod
    def _in_order(cls, limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
        """Refuse none and twins; put requests and tokens per minute first, the rest as written."""
        if not limits:
            raise ValueError("without a limit the plan would be unlimited; give rpm, tpm or limits")
        seen: dict[tuple[str, int], Limit] = {}
        for limit in limits:
            twin = seen.setdefault((limit.meter, limit.period_us), limit)
            if twin is not limit:
                rule = "names the same meter and period twice (rpm and tpm count as limits); keep one"
                raise fault(None, f"{twin}; {limit}", rule)
        first = [seen.pop((meter, notation.MINUTE_US), None) for meter in _SHORTHANDS.values()]
        return (*(limit for limit in first if limit is not None), *seen.values())

    @model_validator(mode="after")
    def _lays_out(self) -> Self:
        """Build the layout now: what is wrong with it is an error of the plan, and threads never race to build it."""
        _ = self.layout
        return self

    def _per_minute(self, meter: str) -> int | None:
        for limit in self.limits:
            if (limit.meter, limit.period_us) == (meter, notation.MINUTE_US):
                return limit.amount
        return None


def _per_minute_limit(key: str, value: object) -> Limit:
    """Return the limit that `rpm` or `tpm` stands for. Raises PydanticCustomError with that key."""
    try:
        amount, seconds = notation.rate_parts(value) if isinstance(value, str) else (notation.whole(value), 60)
        if seconds * notation.SECOND_US != notation.MINUTE_US:
            raise ValueError(f"{key} counts per minute; for another period use limits = [...]")
        # Checked here, although Limit checks it too: its error would name a path that nobody wrote.
        BucketSpec.of(meter=_SHORTHANDS[key], amount=amount, period_us=notation.MINUTE_US)
        return Limit(_SHORTHANDS[key], amount, seconds)
    except ValueError as error:
        raise fault(key, value, str(error)) from None
