"""The base of the plan models: frozen, no unknown keys, no conversions, and ConfigError as the only way to fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from ratelimit.plans.faults import as_config_error, fault

__all__ = ("StrictModel",)


class StrictModel(BaseModel):
    """A pydantic model whose every door (call, `model_validate*`, `build`, `model_copy`) raises ConfigError.

    The conversion sits at the doors and not in a validator, because only there pydantic has put together the full
    path of what is wrong inside nested models.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    known_keys: ClassVar[tuple[str, ...]]
    """Keys that may be written, in the order of the documentation."""

    positional: ClassVar[tuple[str, ...]]
    """Keys that may be given by position."""

    def __init__(self, /, *values: object, **data: object) -> None:
        if len(values) > len(self.positional):
            raise TypeError(f"{type(self).__name__} takes at most {len(self.positional)} values by position")
        by_position = dict(zip(self.positional, values, strict=False))
        twice = by_position.keys() & data.keys()
        if twice:
            raise TypeError(f"{type(self).__name__} got {', '.join(sorted(twice))} twice, by position and by name")
        # In a call None means "not given"; in a file it is a forgotten value, and the validators refuse it.
        given = {key: value for key, value in (by_position | data).items() if value is not None}
        with as_config_error(type(self).__name__):
            super().__init__(**given)

    # Says that this __init__ only validates, like BaseModel's own: else pydantic would call it for nested models too,
    # and the inner ConfigError would hide the path. Should pydantic ever ignore the mark, errors lose the inner path.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def build(cls, body: object, *, at: str) -> Self:
        """Validate one body read from a file; errors name paths that begin with `at`.

        Raises:
            ConfigError: with path, value and rule of what is wrong.
        """
        with as_config_error(at):
            return super().model_validate(body)

    @classmethod
    def model_validate(cls, obj: object, **options: Any) -> Self:
        """Validate a mapping as pydantic does, with ConfigError in place of ValidationError."""
        with as_config_error(cls.__name__):
            return super().model_validate(obj, **options)

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Validate JSON text as pydantic does, with ConfigError in place of ValidationError."""
        with as_config_error(cls.__name__):
            return super().model_validate_json(json_data, **options)

    @classmethod
    def model_validate_strings(cls, obj: object, **options: Any) -> Self:
        """Validate text values as pydantic does, with ConfigError in place of ValidationError."""
        with as_config_error(cls.__name__):
            return super().model_validate_strings(obj, **options)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; one with changes is validated anew, so that numbers derived from the old values cannot stay.

        Raises:
            ConfigError: the changed values are not valid.
        """
        if update:
            return type(self).model_validate({**self.model_dump(), **update})
        return super().model_copy(deep=deep)

    @classmethod
    def _known(cls, data: object) -> dict[str, Any]:
        """Return a copy of a mapping whose keys are all known. Raises PydanticCustomError otherwise."""
        if not isinstance(data, Mapping):
            raise fault(None, data, f"must be a table with the keys {', '.join(cls.known_keys)}")
        for key, value in data.items():
            if key not in cls.known_keys:
                raise fault(key, value, f"unknown key; known are {', '.join(cls.known_keys)}")
        return dict(data)
