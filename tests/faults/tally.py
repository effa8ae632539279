"""A proxy rule that counts how often each operation is tried, and injects faults into scripts of one's choice."""

from __future__ import annotations

import threading
from collections import Counter, deque
from hashlib import sha1

from ratelimit.backends.scripts import SCRIPT_NAMES, load_script
from tests.servers import Action, Command

__all__ = ("Tally",)

_NAMES = {load_script(name, virtual_clock=virtual).sha: name for name in SCRIPT_NAMES for virtual in (False, True)}


class Tally:
    """Pass it to `FaultProxy.rule`. `tries` counts attempts by (script, op-id), `texts` those that sent the text."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: dict[str, deque[Action]] = {name: deque() for name in SCRIPT_NAMES}
        self.tries: Counter[tuple[str, bytes]] = Counter()
        self.texts: Counter[tuple[str, bytes]] = Counter()

    def __call__(self, command: Command) -> Action | None:
        verb, script, keys = command[0].upper(), command[1], int(command[2])
        sha = sha1(script).hexdigest() if verb == b"EVAL" else script.decode()
        operation = _NAMES[sha], command[3 + keys]
        with self._lock:
            self.tries[operation] += 1
            self.texts[operation] += verb == b"EVAL"
            waiting = self._faults[operation[0]]
            return waiting.popleft() if waiting else None

    def inject(self, script: str, *actions: Action) -> None:
        """One action for each of the next calls of *script*, whatever else is called in between."""
        with self._lock:
            self._faults[script].extend(actions)

    def attempts(self, script: str) -> list[int]:
        """How often each operation of *script* was tried, in order of first try."""
        with self._lock:
            return [count for (name, _), count in self.tries.items() if name == script]

    @property
    def injected(self) -> bool:
        """True once all faults have happened."""
        with self._lock:
            return not any(self._faults.values())
