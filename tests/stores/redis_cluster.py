"""A Redis Cluster of three nodes, made without redis-cli."""

import socket
from functools import partial

from tests.processes import HOST, Children, free_port, until
from tests.stores.redis_server import RedisServer

SLOTS = 16384
_NODES = 3
_BUS = 10000  # nodes talk to each other on their port and this
_OPTIONS = ("--cluster-enabled", "yes", "--cluster-node-timeout", 2000)


class RedisCluster:
    """Nodes that share the slots, without replicas."""

    def __init__(self, children: Children) -> None:
        self.nodes = [
            RedisServer(children, f"redis-cluster-{number}", *_OPTIONS, port=_free_ports())
            for number in range(_NODES)
        ]
        for number, node in enumerate(self.nodes):
            first, end = (SLOTS * part // _NODES for part in (number, number + 1))
            with node.control() as connection:
                connection.cluster("ADDSLOTSRANGE", first, end - 1)
                connection.cluster("SET-CONFIG-EPOCH", number + 1)
                for other in self.nodes[:number]:
                    connection.cluster("MEET", HOST, other.port)
        self._until_whole()

    @property
    def url(self) -> str:
        """Where one of the nodes is; it tells of the others."""
        return self.nodes[0].url

    def calls(self, command: str) -> int:
        """Return how often a command was executed on any node since `mend`."""
        return sum(node.calls(command) for node in self.nodes)

    def mend(self) -> None:
        """Undo what a test did to any node, and make all empty."""
        for node in self.nodes:
            node.revive()
        self._until_whole()
        for node in self.nodes:
            node.clear()

    def _until_whole(self) -> None:
        for node in self.nodes:
            until(partial(_knows_all, node), within=20, alive=node.child)


def _knows_all(node: RedisServer) -> bool:
    with node.control() as connection:
        known = connection.cluster("INFO")
    return bool(known["cluster_state"] == "ok" and known["cluster_known_nodes"] == str(_NODES))


def _free_ports() -> int:
    """Return a port that is free together with that of the bus."""
    for _ in range(1000):
        port = free_port()
        if port + _BUS < 65536:
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port + _BUS)) != 0:
                    return port
    raise AssertionError("no two ports are free")
