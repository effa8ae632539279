"""Real servers for the tests, each with its own ports and directory, and a proxy that injects faults.

Everything is a context manager, needs neither root nor a service, and is cleaned up even if the tests are killed.
"""

from __future__ import annotations

from .binaries import NoRedisBinaryError, RedisBinary, redis_binaries
from .cluster import RedisCluster
from .faults import DELAY, DROP_REPLY, HOLD_REQUEST, PASS, RESET_AFTER, RESET_BEFORE, SLICE, Action, Counters, Kind
from .launch import PortTakenError, ServerFailedError
from .ports import free_port
from .proxy import FaultProxy
from .resp import Command
from .sentinel import SentinelSet
from .server import RedisServer, plain_client
from .waiting import PATIENCE, eventually

__all__ = (
    "DELAY",
    "DROP_REPLY",
    "HOLD_REQUEST",
    "PASS",
    "PATIENCE",
    "RESET_AFTER",
    "RESET_BEFORE",
    "SLICE",
    "Action",
    "Command",
    "Counters",
    "FaultProxy",
    "Kind",
    "NoRedisBinaryError",
    "PortTakenError",
    "RedisBinary",
    "RedisCluster",
    "RedisServer",
    "SentinelSet",
    "ServerFailedError",
    "eventually",
    "free_port",
    "plain_client",
    "redis_binaries",
)
