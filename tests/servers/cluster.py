"""A Redis Cluster of masters."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import redis.cluster
from redis.backoff import NoBackoff
from redis.retry import Retry

from . import resp
from .binaries import RedisBinary, redis_binaries
from .ports import HOST
from .server import RedisServer
from .waiting import PATIENCE, eventually

__all__ = ("RedisCluster",)

_SLOTS = 16_384
_CHUNK = 1_000  # ADDSLOTS takes single slots, ADDSLOTSRANGE is not in 6.2
_CONFIG: dict[str, str | int] = {
    "cluster-enabled": "yes",
    "cluster-config-file": "nodes.conf",
    "cluster-node-timeout": 2_000,
}


class RedisCluster:
    """Masters that share the 16384 slots evenly, in order: node 0 has the lowest."""

    def __init__(self, binary: RedisBinary | None = None, masters: int = 3) -> None:
        """Describe the cluster; nothing runs yet."""
        self.binary = binary or redis_binaries()[0]
        self.nodes = [RedisServer(self.binary, config=_CONFIG) for _ in range(masters)]
        self._owners = [slot * masters // _SLOTS for slot in range(_SLOTS)]

    @property
    def url(self) -> str:
        """`redis+cluster://host:port,host:port,...`."""
        return f"redis+cluster://{','.join(f'{HOST}:{node.port}' for node in self.nodes)}"

    def client(self, **options: Any) -> redis.cluster.RedisCluster:
        """A new redis-py cluster client that follows redirections but does not retry when a connection fails."""
        port = next(node.port for node in self.nodes if node.running)
        settings: dict[str, Any] = {"socket_timeout": 5.0, "retry": Retry(NoBackoff(), 0), **options}
        return redis.cluster.RedisCluster(host=HOST, port=port, **settings)

    def slot(self, key: str) -> int:
        """The slot of *key*, as the server computes it."""
        return int(str(self.nodes[0].call("CLUSTER", "KEYSLOT", key)))

    def owner(self, slot: int) -> int:
        """The index of the node that owns *slot*."""
        return self._owners[slot]

    def start(self) -> RedisCluster:
        """Start the nodes, join them and wait until each has the whole picture and accepts keys."""
        for index, node in enumerate(self.nodes):
            node.start()
            # Distinct epochs from the start; nodes that have to settle a tie themselves may lose time over it.
            node.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            mine = [slot for slot, owner in enumerate(self._owners) if owner == index]
            for first in range(0, len(mine), _CHUNK):
                node.call("CLUSTER", "ADDSLOTS", *mine[first : first + _CHUNK])
            for other in self.nodes[:index]:
                node.call("CLUSTER", "MEET", HOST, other.port)
        self.wait_ready()
        return self

    def wait_ready(self, *, within: float = PATIENCE) -> None:
        """Wait until every running node says that the cluster is ok and knows every node."""
        eventually(lambda: all(map(self._sees_all, self.nodes)), within=within, what="the cluster is complete")

    def move_slot(self, slot: int, to_index: int) -> None:
        """Move *slot* with its keys to another node, and wait until all nodes know."""
        self.begin_move(slot, to_index)
        self.migrate_keys(slot, to_index)
        self.finish_move(slot, to_index)

    def begin_move(self, slot: int, to_index: int) -> None:
        """Open the slot: the owner answers ASK for keys it has not (any more), the target takes them after ASKING."""
        source, target = self.nodes[self._owners[slot]], self.nodes[to_index]
        if source is target:
            raise ValueError(f"slot {slot} is on node {to_index} already")
        # In this order: the other way round the source would redirect to a target that refuses.
        target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", self._identity(source))
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", self._identity(target))

    def migrate_keys(self, slot: int, to_index: int) -> None:
        """Move the keys of an open slot."""
        source, target = self.nodes[self._owners[slot]], self.nodes[to_index]
        while keys := resp.words(source.call("CLUSTER", "GETKEYSINSLOT", slot, 100)):
            source.call("MIGRATE", HOST, target.port, "", 0, 5_000, "KEYS", *keys)

    def finish_move(self, slot: int, to_index: int) -> None:
        """Close the slot: it belongs to the target from now on."""
        target = self.nodes[to_index]
        identity = self._identity(target)
        # The target first, or there would be a moment in which nobody owns the slot.
        others = [node for node in self.nodes if node is not target and node.running]
        for node in (target, *others):
            node.call("CLUSTER", "SETSLOT", slot, "NODE", identity)
        self._owners[slot] = to_index
        eventually(lambda: self._agreed(slot, target.port), what=f"all nodes see slot {slot} at node {to_index}")

    def close(self) -> None:
        """Kill all nodes and remove their directories."""
        for node in self.nodes:
            node.close()

    def __enter__(self) -> RedisCluster:
        """Start."""
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Close."""
        self.close()

    def _identity(self, node: RedisServer) -> str:
        return str(node.call("CLUSTER", "MYID"))

    def _sees_all(self, node: RedisServer) -> bool:
        state = str(node.call("CLUSTER", "INFO")).splitlines()
        healthy = {"cluster_state:ok", f"cluster_slots_ok:{_SLOTS}", f"cluster_known_nodes:{len(self.nodes)}"}
        if not healthy.issubset(state):
            return False
        # A known node may still be a handshake whose name is made up.
        lines = str(node.call("CLUSTER", "NODES")).splitlines()
        return all(" connected" in line and "handshake" not in line for line in lines)

    def _agreed(self, slot: int, port: int) -> bool:
        return all(_port_of(node.call("CLUSTER", "SLOTS"), slot) == port for node in self.nodes if node.running)


def _port_of(slots: resp.Reply, slot: int) -> int | None:
    """Look *slot* up in the reply of CLUSTER SLOTS: first, last, [host, port, ...], ..."""
    for entry in slots if isinstance(slots, list) else ():
        match entry:
            case [int(first), int(last), [_, int(port), *_], *_] if first <= slot <= last:
                return port
    return None
