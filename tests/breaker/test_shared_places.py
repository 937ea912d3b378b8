"""Where breakers of several processes meet: one server, a cluster, what sentinels watch."""

import time
from contextlib import ExitStack
from typing import Any, cast

import pytest
from redis.crc import key_slot

from asgi_guard import CircuitBreaker, SharedBreakers
from tests.breaker.test_shared import (
    CLOSED,
    HALF_OPEN,
    OPEN,
    connected,
    processes,
    states,
    succeed,
    trial,
    trip,
)
from tests.processes import HOST, Children, until
from tests.stores.redis_cluster import SLOTS, RedisCluster
from tests.stores.redis_sentinel import MASTER, RedisSentinel
from tests.stores.redis_server import RedisServer, RedisServers, control

CHANNEL = "asgi_guard:breakers:0"
OPTIONS = [
    "max_connections=1",
    "socket_timeout=0.2",
    "protocol=3",
    "health_check_interval=1&decode_responses=true",
]


@pytest.fixture
def server(redis_servers: RedisServers) -> RedisServer:
    """Return one server."""
    return redis_servers.get("redis-8")


def goes_round(breakers: list[CircuitBreaker]) -> None:
    """Let one trip, all open, one try, and all recover."""
    trip(breakers[0])
    until(lambda: states(breakers) == {OPEN}, pause=0.001)
    until(lambda: states(breakers) == {HALF_OPEN})
    trial(breakers)
    until(lambda: states(breakers) == {CLOSED})


@pytest.mark.parametrize("option", OPTIONS)
def test_whatever_the_url_says_it_listens(
    server: RedisServer, option: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By a connection that is not counted, is told no text, and may be silent for long."""
    before = server.connections()  # of other tests, which may still end
    with processes(f"{server.url}?{option}", 2) as breakers:
        connected(breakers)
        time.sleep(0.5)
        goes_round(breakers)
    assert not [line for line in caplog.messages if "out" in line]
    until(lambda: server.connections() <= before)


def on(cluster: RedisCluster, node: int = 0) -> str:
    """Return the URL of a cluster, by one of its nodes."""
    return cluster.nodes[node].url.replace("redis://", "redis+cluster://")


def owner(cluster: RedisCluster) -> RedisServer:
    """Return the node where everything is."""
    return cluster.nodes[key_slot(b"{asgi_guard}") * len(cluster.nodes) // SLOTS]


def test_a_cluster_is_one_place(redis_cluster: RedisCluster) -> None:
    """Whichever node a process was told of, and whatever the breakers are called."""
    with ExitStack() as stack:
        for number in range(5):
            made: list[CircuitBreaker] = []
            for node in range(3):
                shared = SharedBreakers(f"{on(redis_cluster, node)}?max_connections=1")
                stack.callback(shared.close)
                made.append(
                    CircuitBreaker(
                        f"{{b}} {number}",
                        shared=shared,
                        open_for=0.3,
                        recover_after=1,
                        jitter=0.0,
                        consecutive_failures=3,
                    )
                )
                succeed(made[-1])
            connected(made)
            goes_round(made)


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_a_cluster_may_lose_its_node(
    redis_cluster: RedisCluster, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The one where everything is; each goes by itself, and is told when the node is back."""
    with processes(on(redis_cluster), 2, open_for=60.0) as breakers:
        connected(breakers)
        node = owner(redis_cluster)
        node.kill() if fault == "killed" else node.freeze()
        trip(breakers[0])
        until(lambda: not breakers[0]._share._trials.is_connected)
        assert breakers[1].state is CLOSED
        node.revive()
        until(lambda: states(breakers) == {OPEN}, within=20)
    assert len([line for line in caplog.messages if "is out" in line]) <= 2


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_sentinels_tell_where_they_meet(
    redis_sentinel: RedisSentinel, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Before a failover and after; whoever tripped meanwhile is heard by all."""
    hosts = ",".join(f"{host}:{port}" for host, port in redis_sentinel.addresses)
    with processes(f"redis+sentinel://{hosts}/{MASTER}", 3) as breakers:
        connected(breakers)
        goes_round(breakers)
        before = redis_sentinel.master_port()
        (master,) = (each for each in redis_sentinel.servers if each.port == before)
        master.kill() if fault == "killed" else master.freeze()
        breakers[0].throttle(60.0)
        assert breakers[0].state is OPEN
        until(lambda: redis_sentinel.master_port() != before, within=20)
        if fault == "frozen":  # who listens there says nothing, and hears nothing, until it is over
            master.thaw()
        until(lambda: states(breakers) == {OPEN}, within=20)
        with control(redis_sentinel.master_port()) as connection:
            until(lambda: connection.pubsub_numsub(CHANNEL) == [(CHANNEL, 3)], within=20)
            connection.flushall()
        for each in breakers:
            each.close()
        connected(breakers)
        goes_round(breakers)
    lines = [line.split(":")[1] for line in caplog.messages if line.startswith("shared breakers")]
    assert lines.count(" Redis is out") <= 3 * 2
    assert "redis+sentinel" not in caplog.text


def test_a_sentinel_that_is_gone_is_passed_over(children: Children) -> None:
    """So is one that is frozen: the next one knows as well."""
    watched = RedisSentinel(children, "redis-watched", sentinels=3)
    hosts = ",".join(f"{host}:{port}" for host, port in watched.addresses)
    try:
        watched.sentinels[0].freeze()
        watched.sentinels[1].kill()
        with processes(f"redis+sentinel://{hosts}/{MASTER}", 2) as breakers:
            connected(breakers)
            goes_round(breakers)
    finally:
        watched.stop()


def test_who_may_not_speak_is_out(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """And says so once; who may not listen likewise, or has the wrong password."""
    before = server.connections()
    rights = {"mute": ["+@all", "-publish"], "deaf": ["+@all", "-subscribe"], "reader": ["+@read"]}
    with server.control() as control:
        for user, allowed in rights.items():
            said = ("ACL", "SETUSER", user, "on", ">secret", "~*", "&*", "+@connection", "+eval")
            cast("Any", control).execute_command(*said, *allowed)
    for user in (*rights, "nobody"):
        caplog.clear()
        with processes(f"redis://{user}:secret@{HOST}:{server.port}", 1) as (breaker,):
            time.sleep(1.0)
            trip(breaker)
            until(lambda: breaker.state is HALF_OPEN)
            succeed(breaker)
            assert breaker.state is CLOSED
        lines = [each for each in caplog.messages if each.startswith("shared breakers")]
        assert len(lines) == 1
        assert "secret" not in caplog.text
    until(lambda: server.connections() <= before)


@pytest.mark.parametrize("command", ["LPUSH", "SET"])
def test_keys_of_somebody_else_hold_nobody_up(server: RedisServer, command: str) -> None:
    """Whatever they are, and though they never end."""
    with processes(server.url, 2) as breakers:
        connected(breakers)
        with server.control() as control:
            for word in ("open", "trial"):
                key = f"{{asgi_guard}}:breaker:{breakers[0].name}:{word}"
                cast("Any", control).execute_command(command, key, "somebody")
            trip(breakers[0])
            until(lambda: states(breakers) == {OPEN}, pause=0.001)
            key = f"{{asgi_guard}}:breaker:{breakers[0].name}:trial"
            control.delete(key)
            cast("Any", control).execute_command(command, key, "somebody")
        until(lambda: states(breakers) == {HALF_OPEN})
        trial(breakers)
        until(lambda: states(breakers) == {CLOSED})


def test_a_flush_is_no_end(server: RedisServer) -> None:
    """What is known stays known, and the next trip is told."""
    with processes(server.url, 2) as breakers:
        connected(breakers)
        trip(breakers[0])
        until(lambda: states(breakers) == {OPEN})
        server.clear()
        assert states(breakers) == {OPEN}
        until(lambda: states(breakers) == {HALF_OPEN})
        trial(breakers)
        until(lambda: states(breakers) == {CLOSED})
        goes_round(breakers)
