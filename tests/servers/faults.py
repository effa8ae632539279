"""What can happen to a command on its way, and the plan that decides which command it happens to."""

from __future__ import annotations

import enum
import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from .resp import Command

__all__ = (
    "DELAY",
    "DROP_REPLY",
    "HOLD_REQUEST",
    "PASS",
    "RESET_AFTER",
    "RESET_BEFORE",
    "SLICE",
    "Action",
    "Counters",
    "FaultPlan",
    "Kind",
)


class Kind(enum.Enum):
    """The kinds of fault."""

    PASS = enum.auto()
    DROP_REPLY = enum.auto()
    RESET_AFTER = enum.auto()
    RESET_BEFORE = enum.auto()
    DELAY = enum.auto()
    SLICE = enum.auto()
    HOLD_REQUEST = enum.auto()


@dataclass(frozen=True)
class Action:
    """What happens to one command."""

    kind: Kind
    seconds: float = 0.0


#: Nothing happens; in a queue it counts a command off.
PASS = Action(Kind.PASS)

#: The server executes, the reply is swallowed, the connection stays open. Nothing the server says on this connection
#: comes through any more: a later reply would be taken for the one that is missing.
DROP_REPLY = Action(Kind.DROP_REPLY)

#: The server executes, then the client's connection is reset (RST) instead of the reply.
RESET_AFTER = Action(Kind.RESET_AFTER)

#: The client's connection is reset (RST) and the server never sees the command.
RESET_BEFORE = Action(Kind.RESET_BEFORE)

#: The reply comes one byte at a time.
SLICE = Action(Kind.SLICE)

#: The command waits in the network until `FaultProxy.release`, and reaches the server even if the client has gone.
#: What the client sends after it on the same connection waits behind it.
HOLD_REQUEST = Action(Kind.HOLD_REQUEST)


def _delay(seconds: float) -> Action:
    return Action(Kind.DELAY, seconds)


#: `DELAY(seconds)`: the server executes at once, the reply comes that much later.
DELAY = _delay


Rule = Callable[[Command], "Action | None"]


class FaultPlan:
    """Decides for each command, in order of arrival: the queue first, then the rule, then chance. Thread-safe."""

    def __init__(self, names: Iterable[str] | None) -> None:
        """Apply the plan to commands of these names only; None means all."""
        self._names = None if names is None else frozenset(name.upper() for name in names)
        self._lock = threading.Lock()
        self._queue: deque[Action] = deque()
        self._rule: Rule | None = None
        self._random = random.Random()
        self._chances: list[tuple[Action, float]] = []

    def enqueue(self, actions: Iterable[Action]) -> None:
        """One action for each of the next matching commands."""
        with self._lock:
            self._queue.extend(actions)

    def set_rule(self, rule: Rule | None) -> None:
        """Ask *rule* about every matching command that the queue has nothing for."""
        with self._lock:
            self._rule = rule

    def set_random(self, seed: int, chances: Mapping[Action, float]) -> None:
        """Draw from *chances* for every matching command that nothing else applies to; the rest pass."""
        if min(chances.values(), default=0.0) < 0 or sum(chances.values()) > 1 + 1e-9:
            raise ValueError(f"not probabilities: {chances}")
        with self._lock:
            self._random.seed(seed)
            self._chances = list(chances.items())

    def clear(self) -> None:
        """Forget everything: from now on all commands pass."""
        with self._lock:
            self._queue.clear()
            self._rule = None
            self._chances = []

    @property
    def queued(self) -> int:
        """The actions that no command has met yet."""
        with self._lock:
            return len(self._queue)

    def decide(self, command: Command) -> Action:
        """Return what happens to *command*."""
        with self._lock:
            if self._names is not None and command_name(command) not in self._names:
                return PASS
            if self._queue:
                return self._queue.popleft()
            decided = self._rule(command) if self._rule else None
            return decided or self._draw()

    def _draw(self) -> Action:
        if not self._chances:
            return PASS
        drawn = self._random.random()
        for action, probability in self._chances:
            drawn -= probability
            if drawn < 0:
                return action
        return PASS


def command_name(command: Command) -> str:
    """The first word, in upper case."""
    return command[0].decode(errors="replace").upper() if command else ""


@dataclass
class Counters:
    """How many commands, by upper-case name, got how far; `.total()` sums a counter up.

    `seen`: read from a client. `forwarded`: sent to the server. `executed`: answered by the server.
    `dropped`: answered, and the reply withheld on purpose.
    """

    connections: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    forwarded: Counter[str] = field(default_factory=Counter)
    executed: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    def copy(self) -> Counters:
        """A snapshot."""
        return Counters(
            self.connections, self.seen.copy(), self.forwarded.copy(), self.executed.copy(), self.dropped.copy()
        )
