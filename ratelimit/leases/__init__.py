"""Local leases: decisions of busy subjects without a call to the backend. `core.lease` has the arithmetic."""

from ratelimit.leases.options import Leases

__all__ = ("Leases",)
