"""How leases are drawn: the options that callers give."""

from __future__ import annotations

from dataclasses import dataclass

from ratelimit.errors import ConfigError

__all__ = ("Leases",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """Local leases: busy subjects are decided in this process, on quota that was paid ahead. See docs/leases.md.

    `term`: seconds for which a slice may be used, 0.001 to 10: what is admitted was charged no earlier. `most`:
    decisions that one slice pays for at most. `workers`: processes that share a subject; a slice takes at most
    half a worker's share of what is free. `busy`: decisions within a term from which on a subject gets a lease.

    Raises:
        ConfigError: a value that cannot be right.
    """

    term: float = 0.5
    most: int = 128
    workers: int = 4
    busy: int = 4

    def __post_init__(self) -> None:
        if isinstance(self.term, bool) or not isinstance(self.term, (int, float)) or not 0.001 <= self.term <= 10:
            raise ConfigError(f"term is {self.term!r}: must be seconds from 0.001 to 10")
        for name, value, bound in (("most", self.most, 2), ("workers", self.workers, 1), ("busy", self.busy, 1)):
            if type(value) is not int or not bound <= value <= 1_000_000:
                raise ConfigError(f"{name} is {value!r}: must be a whole number from {bound} to 1,000,000")

    @property
    def term_us(self) -> int:
        """The term in microseconds."""
        return round(self.term * 1_000_000)
