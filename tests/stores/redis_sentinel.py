"""A Redis master and its replica, watched by sentinels that put the one in the other's place."""

from collections.abc import Sequence

from tests.processes import HOST, Children, until
from tests.stores.redis_server import RedisServer, control, program
from tests.stores.server import Server

MASTER = "main"  # what the sentinels call it, whichever server it is


class RedisSentinel:
    """Two servers and what watches them.

    Args:
        children: What starts them.
        name: What their names begin with.
        sentinels: How many watch; most of them must agree that the master is gone.
    """

    def __init__(self, children: Children, name: str, sentinels: int = 1) -> None:
        master = RedisServer(children, f"{name}-0", "--repl-diskless-sync-delay", 0)
        replica = RedisServer(children, f"{name}-1", "--replicaof", HOST, master.port)
        self.servers = [master, replica]
        until(lambda: _follows(replica), within=20, alive=replica.child)
        self.sentinels = [
            Sentinel(children, f"{name}-sentinel-{number}", master.port, sentinels // 2 + 1)
            for number in range(sentinels)
        ]
        until(lambda: all(each.others() == (1, sentinels - 1) for each in self.sentinels))

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where the sentinels are, as clients want to know it."""
        return [(HOST, each.port) for each in self.sentinels]

    def master_port(self) -> int:
        """Return the port of the master, as the first sentinel has it."""
        return self.sentinels[0].master_port()

    def kill_master(self) -> None:
        """End the master, without a goodbye; what follows is up to the sentinels."""
        port = self.master_port()
        (master,) = (server for server in self.servers if server.port == port)
        master.kill()

    def stop(self) -> None:
        """End all of them."""
        for each in (*self.sentinels, *self.servers):
            each.child.stop()


class Sentinel(Server):
    """One that watches."""

    def __init__(self, children: Children, name: str, master: int, quorum: int) -> None:
        self._master = master
        self._quorum = quorum
        super().__init__(children, name)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://{HOST}:{self.port}"

    def clear(self) -> None:
        """Forget nothing: what it knows is how things are."""

    def master_port(self) -> int:
        """Return the port of the master, as it knows it."""
        with control(self.port) as connection:
            address = connection.sentinel_get_master_addr_by_name(MASTER)
        assert isinstance(address, tuple)
        return int(address[1])

    def others(self) -> tuple[int, int]:
        """Return how many replicas and how many other sentinels it knows."""
        with control(self.port) as connection:
            master = connection.sentinel_master(MASTER)
        assert isinstance(master, dict)
        return master["num-slaves"], master["num-other-sentinels"]

    def _command(self) -> Sequence[object]:
        settings = self.folder / "sentinel.conf"  # it writes there what it finds out
        settings.write_text(
            f"""\
bind {HOST}
port {self.port}
sentinel monitor {MASTER} {HOST} {self._master} {self._quorum}
sentinel down-after-milliseconds {MASTER} 500
sentinel failover-timeout {MASTER} 2000
"""
        )
        return [program("redis-8"), settings, "--sentinel"]

    def _ask(self) -> object:
        with control(self.port) as connection:
            return connection.ping()


def _follows(replica: RedisServer) -> bool:
    with replica.control() as connection:
        return bool(connection.info("replication")["master_link_status"] == "up")
