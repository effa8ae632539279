"""Replay recorded traffic against plans, in virtual time, through the engine itself: which plan does it need?"""

from ratelimit.replay.estimate import Estimate
from ratelimit.replay.report import Advice, LimitReport, PlanReport, advise
from ratelimit.replay.run import replay
from ratelimit.replay.trace import Request, read_trace
from ratelimit.replay.workload import Settings

__all__ = (
    "Advice",
    "Estimate",
    "LimitReport",
    "PlanReport",
    "Request",
    "Settings",
    "advise",
    "read_trace",
    "replay",
)
