"""Loopback ports that nobody listens on."""

from __future__ import annotations

import random
import socket

__all__ = ("BUS_OFFSET", "HOST", "free_port")

HOST = "127.0.0.1"

#: Redis Cluster's bus listens this far above the data port.
BUS_OFFSET = 10_000

# Both a port and its bus port stay below 32768, where Linux starts to number outgoing connections: a server
# that was killed finds its port still free when it is restarted.
_CANDIDATES = range(10_000, 22_000)

# Seeded by the system: plug-ins that reseed `random` would make every test worker try the same ports.
_RANDOM = random.SystemRandom()

_given: set[int] = set()


def free_port(*, bus: bool = False) -> int:
    """Return a port free at this moment and not given before; with *bus*, its cluster bus port is free as well.

    Another process may still be faster to bind it, so whoever listens must be ready to ask again.
    """
    for _ in range(1_000):
        port = _RANDOM.choice(_CANDIDATES)
        if port not in _given and _is_free(port) and (not bus or _is_free(port + BUS_OFFSET)):
            _given.add(port)
            return port
    raise RuntimeError(f"no free port among {_CANDIDATES}")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As Redis does: connections of a former server in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
