"""Waiting lines: first come, first served within a process, one timer per line.

Only the head of a line asks the backend. Refused, it sleeps exactly until its retry-after; everybody behind it sleeps
without a timer until it is their turn. Who could not be served in time even then is told at once: whoever stands
behind a head that sleeps past his deadline. Nobody else ever wakes up, whatever the length of the line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ratelimit.core.decision import Decision

__all__ = ("Line", "Lines", "Ticket")


@dataclass(eq=False, slots=True)
class Ticket:
    """One place in a line. `wake` rouses its owner, who then looks at what has changed."""

    deadline: float
    """Seconds of the owner's clock."""
    wake: Callable[[], object]
    refusal: Decision[Any] | None = None
    """Set when the wait would be too long."""


@dataclass(eq=False, slots=True)
class Line:
    """Who waits for one group of scopes. Not thread-safe: the driver brings the lock, or the event loop."""

    tickets: deque[Ticket] = field(default_factory=deque)
    until: float = 0.0
    """When the head asks again."""
    refusal: Decision[Any] | None = None
    """Why the head waits."""
    nudged: bool = False
    """Something was given back since the head began to ask: its answer may be out of date."""

    def join(self, ticket: Ticket) -> None:
        """Take the last place, or be refused at once if even the head waits for longer than this ticket can."""
        if self.tickets and self.refusal is not None and self.until > ticket.deadline:
            ticket.refusal = self.refusal
        else:
            self.tickets.append(ticket)

    def is_head(self, ticket: Ticket) -> bool:
        """True when it is this ticket's turn to ask."""
        return bool(self.tickets) and self.tickets[0] is ticket

    def ask(self) -> None:
        """The head begins to ask."""
        self.nudged = False

    def hold(self, until: float, refusal: Decision[Any]) -> None:
        """The head waits until then: send away those behind it who cannot."""
        self.until, self.refusal = until, refusal
        head = self.tickets[0]
        late = [ticket for ticket in self.tickets if ticket is not head and ticket.deadline < until]
        for ticket in late:
            self.tickets.remove(ticket)
            ticket.refusal = refusal
            ticket.wake()

    def leave(self, ticket: Ticket) -> None:
        """Served, refused or cancelled: if it was the head's turn, it is now the next one's."""
        was_head = self.is_head(ticket)
        if ticket in self.tickets:
            self.tickets.remove(ticket)
        if was_head:
            self.refusal = None
            self.nudge()

    def nudge(self) -> None:
        """Let the head ask now: it is new, or something was given back."""
        self.nudged = True
        if self.tickets:
            self.tickets[0].wake()


class Lines(dict[str, Line]):
    """The lines of one limiter, by the hash tag of their scopes. Empty ones are dropped.

    So it is true while anybody waits. A dict and not one behind an attribute, because every settle asks.
    """

    def enter(self, key: str, ticket: Ticket) -> Line:
        """Join the line of a scope key."""
        line = self.setdefault(_tag(key), Line())
        line.join(ticket)
        return line

    def leave(self, key: str, ticket: Ticket) -> None:
        """Leave it again, in whatever way."""
        line = self.get(_tag(key))
        if line is not None:
            line.leave(ticket)
            if not line.tickets:
                del self[_tag(key)]

    def nudge(self, key: str) -> None:
        """Something was given back to a scope: whoever waits for it may fit now."""
        line = self.get(_tag(key))
        if line is not None:
            line.nudge()


def _tag(key: str) -> str:
    return key[: key.index("}") + 1]
