"""Plans: what operators write, checked once and handed to the engine as exact integers.

* `models`: Limit and Plan. `weights`: how much a token of each class counts.
* `notation`: how amounts, periods, rates and names may be written.
* `builtin`: the four plans of the API. `sources` and `formats`: plans from TOML, YAML and JSON files.
* `registry`: plans by name. `names`: when two spellings are one name.
* `strict` and `faults`: everything that is wrong becomes a ConfigError with path, value and rule.
"""

from __future__ import annotations

from ratelimit.plans.builtin import BUILTIN_PLANS
from ratelimit.plans.models import Limit, Plan
from ratelimit.plans.registry import PlanRegistry
from ratelimit.plans.weights import TokenWeights

__all__ = (
    "BUILTIN_PLANS",
    "Limit",
    "Plan",
    "PlanRegistry",
    "TokenWeights",
)
