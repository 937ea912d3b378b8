"""That the Redis-like servers are what tests of a shared store need."""

import time
from hashlib import sha1

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.processes import EARLY
from tests.stores.redis_server import RedisServer

VERSIONS = {"redis-8": "8.", "valkey-9": "9.", "redis-7": "7."}
SCRIPT = b"return redis.call('incrby', KEYS[1], 1)"


def test_it_is_the_server_it_is_called(redis_server: RedisServer) -> None:
    """Each kind is a server of that name and major version."""
    with redis_server.control() as connection:
        about = connection.info("server")
    version = about.get("valkey_version", about["redis_version"])
    assert version.startswith(VERSIONS[redis_server.name])


@pytest.mark.parametrize("way", ["url", "unix_url"])
async def test_it_answers(redis_server: RedisServer, way: str) -> None:
    """A client reaches it over TCP and over its Unix socket."""
    async with redis.asyncio.from_url(getattr(redis_server, way)) as client:
        assert await client.ping()
        assert await client.eval("return 41 + ARGV[1]", 0, 1) == 42


@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_has_it_empty(redis_server: RedisServer, turn: str) -> None:
    """Neither keys nor scripts nor counts are left over from another test."""
    with redis_server.control() as connection:
        assert connection.dbsize() == 0
        assert redis_server.calls("incrby") == 0
        connection.incr("key")
        with pytest.raises(redis.exceptions.NoScriptError):
            connection.evalsha(sha1(SCRIPT).hexdigest(), 1, "key")
        assert connection.eval(SCRIPT.decode(), 1, "key") == 2
        assert connection.evalsha(sha1(SCRIPT).hexdigest(), 1, "key") == 3
        assert redis_server.calls("evalsha") == 2
        assert redis_server.calls("incrby") == 3


def test_frozen_it_makes_clients_time_out(redis_server: RedisServer) -> None:
    """Old connections and new ones wait in vain; both go on when it is thawed."""
    url, once = redis_server.url, Retry(NoBackoff(), 0)
    with (
        redis.from_url(url, socket_timeout=0.2, retry=once) as old,
        redis.from_url(url, socket_timeout=0.2, retry=once) as new,
    ):
        old.ping()
        with redis_server.frozen():
            for client in (old, new):
                began = time.monotonic()
                with pytest.raises(redis.TimeoutError):
                    client.ping()
                assert 0.2 - EARLY <= time.monotonic() - began < 2
        assert old.ping()
        assert new.ping()


def test_killed_it_can_be_restarted(redis_server: RedisServer) -> None:
    """A dead server refuses connections; another one takes its place, on its port and empty."""
    with redis.from_url(redis_server.url, retry=Retry(NoBackoff(), 0)) as client:
        client.set("key", "value")
        redis_server.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        redis_server.restart()
        assert client.get("key") is None


@pytest.mark.parametrize("harm", ["freeze", "kill"])
def test_harm_is_mended(redis_server: RedisServer, harm: str) -> None:
    """What a test leaves frozen or dead, the next one finds in order."""
    getattr(redis_server, harm)()
    redis_server.mend()
    with redis_server.control() as connection:
        assert connection.ping()
