"""A master, a replica and three Sentinels that watch them."""

from __future__ import annotations

import secrets
from types import TracebackType

import hiredis

from . import resp
from .binaries import RedisBinary, redis_binaries
from .launch import PortTakenError
from .ports import HOST, free_port
from .server import RedisServer
from .waiting import PATIENCE, eventually

__all__ = ("SentinelSet",)

_SENTINELS = 3
_QUORUM = 2
_DOWN_AFTER_MS = 500
_FAILOVER_TIMEOUT_MS = 2_000


class SentinelSet:
    """One master, one replica, three Sentinels; ready for a failover when started."""

    service = "mymaster"

    def __init__(self, binary: RedisBinary | None = None) -> None:
        """Describe the set; nothing runs yet."""
        self.binary = binary or redis_binaries()[0]
        self.master = RedisServer(self.binary)
        self.replica = RedisServer(self.binary)
        self.sentinels: list[RedisServer] = []

    @property
    def sentinel_ports(self) -> list[int]:
        """The Sentinels' TCP ports on 127.0.0.1."""
        return [sentinel.port for sentinel in self.sentinels]

    @property
    def url(self) -> str:
        """`redis+sentinel://host:port,host:port,host:port/service`."""
        return f"redis+sentinel://{','.join(f'{HOST}:{port}' for port in self.sentinel_ports)}/{self.service}"

    def start(self) -> SentinelSet:
        """Start all five servers and wait until the Sentinels could fail over."""
        self.master.start()
        self.replica.configure(replicaof=f"{HOST} {self.master.port}")
        self.replica.start()
        eventually(self._in_sync, what="the replica is in sync")
        self._start_sentinels()
        eventually(self._watched, what="the sentinels see one replica and each other")
        return self

    def failover(self, *, within: float = 2 * PATIENCE) -> RedisServer:
        """Kill the master (SIGKILL), wait until every Sentinel announces the replica as master, and return it.

        Afterwards `master` is the promoted server and `replica` the dead one; see `rejoin`. It takes about two
        seconds; a failed election on a starved machine, or another failover within the last four seconds, costs four
        more, as no Sentinel tries again before twice the failover timeout has passed.
        """
        self.master.kill()
        self.master, self.replica = self.replica, self.master
        eventually(self._promoted, within=within, what="every sentinel announces the new master")
        return self.master

    def rejoin(self) -> None:
        """Start the dead server as replica of the present master and wait until another failover is possible."""
        # Left to themselves the Sentinels would take 8 s to notice and demote it.
        self.replica.configure(replicaof=f"{HOST} {self.master.port}")
        self.replica.start()
        eventually(self._in_sync, what="the replica is in sync")
        eventually(self._watched, within=2 * PATIENCE, what="the sentinels see the replica again")

    def announced(self) -> list[int]:
        """The port each Sentinel announces as the master's."""
        replies = [sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service) for sentinel in self.sentinels]
        return [int(resp.words(reply)[1]) for reply in replies]

    def close(self) -> None:
        """Kill all servers and remove their directories."""
        for server in (*self.sentinels, self.replica, self.master):
            server.close()
        self.sentinels = []

    def __enter__(self) -> SentinelSet:
        """Start."""
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Close."""
        self.close()

    def _start_sentinels(self) -> None:
        for _ in range(5):
            self.sentinels = self._describe_sentinels()
            try:
                for sentinel in self.sentinels:
                    sentinel.start()
                return
            except PortTakenError:  # each configuration names all ports: begin again
                for sentinel in self.sentinels:
                    sentinel.close()
        raise PortTakenError("no free ports for the sentinels in five attempts")

    def _describe_sentinels(self) -> list[RedisServer]:
        """Sentinels told of each other and of the replica: by themselves they need seconds of gossip to find out."""
        identities = {secrets.token_hex(20): free_port() for _ in range(_SENTINELS)}
        sentinels = []
        for identity, port in identities.items():
            config: dict[str, str | int] = {
                "sentinel myid": identity,
                "sentinel monitor": f"{self.service} {HOST} {self.master.port} {_QUORUM}",
                "sentinel down-after-milliseconds": f"{self.service} {_DOWN_AFTER_MS}",
                "sentinel failover-timeout": f"{self.service} {_FAILOVER_TIMEOUT_MS}",
                "sentinel known-replica": f"{self.service} {HOST} {self.replica.port}",
            }
            peers = [(peer_port, peer) for peer, peer_port in identities.items() if peer != identity]
            for number, (peer_port, peer) in enumerate(peers):
                # A mapping cannot repeat a name, a configuration file can: spaces tell them apart.
                config[f"sentinel known-sentinel{' ' * number}"] = f"{self.service} {HOST} {peer_port} {peer}"
            sentinels.append(RedisServer(self.binary, config=config, args=["--sentinel"], port=port))
        return sentinels

    def _in_sync(self) -> bool:
        state = self.replica.info("replication")
        return state.get("master_link_status") == "up" and state["master_port"] == str(self.master.port)

    def _watched(self) -> bool:
        return all(self._sees_all(sentinel) for sentinel in self.sentinels)

    def _sees_all(self, sentinel: RedisServer) -> bool:
        replicas = resp.rows(sentinel.call("SENTINEL", "REPLICAS", self.service))
        peers = resp.rows(sentinel.call("SENTINEL", "SENTINELS", self.service))
        in_sync = [row["master-link-status"] == "ok" for row in replicas]
        return in_sync == [True] and len(peers) == _SENTINELS - 1 and all(map(_is_up, replicas + peers))

    def _promoted(self) -> bool:
        try:
            announced = self.announced()
        except (OSError, hiredis.ReplyError):
            return False
        # Asked of the server as well: announced a moment too early it would refuse writes.
        return set(announced) == {self.master.port} and self.master.info("replication")["role"] == "master"


def _is_up(row: dict[str, str]) -> bool:
    # Other flags tell roles, or what a peer last thought of the master.
    return {"s_down", "o_down", "disconnected"}.isdisjoint(row["flags"].split(","))
