"""A memory of refusals: what was refused a moment ago is refused again without asking. Pure: time is an argument.

Theory of operation. After the server refused a scope, its levels only drain until somebody charges more (then it would
be refused all the more) or gives something back. So whoever knows the levels, and knows that nobody gave anything
back, can refuse for the server. Two things are uncertain, and both are settled in favour of asking:

* Time. The answer is true of an instant after the call was `sent`. Counted from there, and 0.1 % too fast, the
  estimated time of the server is never behind the true one, so draining is never underestimated.
* Refunds. Other processes may settle. Every answer shows the sums refunded so far and the epoch, so two answers that
  agree in them prove that nothing was given back in between, and that no plan has changed. Only that earns trust, for
  25 ms at first, twice as long each time it is confirmed, never longer than `recheck`. The first refusal earns none.
  Neither do answers that were under way together: they say the same because they are of the same moment.

What is told (standings, a wait) is of the earliest time that the server's clock can show, counted from the answer. So
a wait is never too short for that reason, and too long by the time of the call at most. Levels that others have raised
since are not seen either; that can make it too short.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from ratelimit.core.hold import Hold
from ratelimit.core.limit import Layout
from ratelimit.core.scope import ScopeState
from ratelimit.errors import ConfigError

__all__ = ("REFUSALS_MAX", "Refusals")

REFUSALS_MAX: Final = 16_384
"""Subjects remembered; the one whose refusal is the oldest makes room."""
RECHECK_MAX: Final = 60.0
_FIRST_US: Final = 25_000
"""Trust that the first confirmation earns."""
_DRIFT: Final = 1_000
"""The server's clock gains less than a thousandth on ours: time daemons slew by at most half of that."""


class _Refused:
    """The last refusal of a scope. `now` is the server's time of it; the other times are local; all in us."""

    __slots__ = ("came", "now", "sent", "state", "until", "window")

    def __init__(self, hold: Hold, sent: int, came: int, window: int) -> None:
        self.state = ScopeState(
            epoch=hold.epoch,
            at=hold.at,
            layout=hold.layout,
            specs=hold.layout.specs,
            levels=hold.levels,
            refunded=hold.refunded,
        )
        self.now = hold.at - hold.lag
        self.sent = sent
        self.came = came
        # Counted from `sent`, so that no refund is overlooked for longer than the window.
        self.until = max(came, sent + window)
        self.window = window

    def is_confirmed_by(self, hold: Hold) -> bool:
        """True when nobody gave anything back between the two refusals, and no plan changed."""
        return (
            self.state.epoch == hold.epoch
            and self.state.specs == hold.layout.specs
            and list(self.state.refunded) == list(hold.refunded)
        )


class Refusals(OrderedDict[str, _Refused]):
    """The last refusals, by scope key. It is true while it remembers any: ask it that first, it costs nothing.

    A dict and not one behind an attribute, because every decision asks. Times are local, in us, of any clock that does
    not step. :meth:`refuses` may be called by any thread; who calls the others from several brings a lock.

    Args:
        recheck: seconds that a refusal is trusted at most, from 0 (never) to 60.

    Raises:
        ConfigError: `recheck` is no such number.
    """

    def __init__(self, recheck: float) -> None:
        super().__init__()
        if isinstance(recheck, bool) or not isinstance(recheck, (int, float)) or not 0 <= recheck <= RECHECK_MAX:
            raise ConfigError(
                f"recheck is {recheck!r}: must be seconds from 0 to 60; 0 asks the server every time, as if nothing "
                "had been refused before"
            )
        self._most_us = int(recheck * 1_000_000)

    def refuses(self, key: str, layout: Layout, costs: Sequence[int], now: int) -> Hold | None:
        """The answer that the server would give, if it is sure to refuse; None: ask it.

        The hold is as a backend leaves it, at the server's estimated time.
        """
        refused = self.get(key)
        if refused is None or not refused.sent <= now < refused.until:
            return None
        state, elapsed = refused.state, now - refused.sent
        if state.layout is not layout and state.specs != layout.specs:
            return None
        latest = refused.now + elapsed + elapsed // _DRIFT + 1
        levels = state.drained(max(latest, state.at))
        for level, cost, capacity in zip(levels, costs, layout.capacities, strict=True):
            if cost and level + cost > capacity:
                break
        else:
            return None
        estimated = refused.now + max(0, now - refused.came)
        hold = Hold(key, layout, costs)
        hold.epoch, hold.refunded = state.epoch, state.refunded
        hold.at = max(estimated, state.at)
        hold.lag = hold.at - estimated
        hold.levels = state.drained(hold.at)
        return hold

    def note(self, hold: Hold, sent: int, now: int) -> None:
        """The server has refused this scope: asked at `sent` or later, answered by `now`."""
        if not self._most_us:
            return
        known, window = self.get(hold.key), 0
        if known is not None and known.is_confirmed_by(hold):
            if sent < known.until:
                return
            window = min(self._most_us, max(_FIRST_US, 2 * known.window))
        self[hold.key] = _Refused(hold, sent, now, window)
        self.move_to_end(hold.key)
        if len(self) > REFUSALS_MAX:
            self.popitem(last=False)

    def forget(self, key: str) -> None:
        """Something else has happened to this scope, or may have."""
        self.pop(key, None)
