"""Clients of redis-py, and how the script is asked by them."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost

from asgi_guard.errors import ConfigurationError, Withheld
from asgi_guard.rate_limit.stores.conversation import Carrier, Conversation, Question
from asgi_guard.rate_limit.stores.redis_script import SCRIPT, SHA, arguments, unframed
from asgi_guard.rate_limit.stores.redis_wire import Wire
from asgi_guard.redis_urls import URLS, client_of

_TARGETS = f"{URLS}, or a client of redis.asyncio"


class Client(Protocol):
    """A client of redis.asyncio, or of valkey.asyncio: as much of it as is used."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a script that the server knows."""
        ...

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a script, and let the server know it."""
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...


def connector(target: object) -> Callable[[], Client]:
    """Return what makes a client for one event loop, without connecting.

    Args:
        target: A URL, or a client.

    Raises:
        ConfigurationError: It is neither.
    """
    if not isinstance(target, str):
        if isinstance(target, type) or not all(
            callable(getattr(target, name, None)) for name in ("evalsha", "eval", "aclose")
        ):
            raise ConfigurationError("RedisStore.target", target, _TARGETS)
        client: Any = target
        return lambda: client
    try:
        make = client_of(target)
    except ValueError:
        # Without its cause, which may quote it.
        raise ConfigurationError("RedisStore.target", Withheld(target), _TARGETS) from None
    if "+cluster:" in target.partition("//")[0]:  # which asks again by itself
        return make
    # Once more, at once, where a connection that lay idle turns out to be closed.
    retry = Retry(NoBackoff(), 1, supported_errors=(ConnectionLost,))
    return lambda: make(retry=retry)


async def connect(client: Client, told: Conversation) -> Carrier:
    """Return what asks the script: a connection taken over, or the client where that cannot be.

    A cluster has several servers, and knows which to ask; others may stand in for a server.

    Args:
        client: The client.
        told: Who is told what comes back.
    """
    pool: Any = getattr(client, "connection_pool", None)
    if not hasattr(getattr(pool, "connection_class", None), "_writer"):
        return Calls(told, client)
    connection = pool.make_connection()
    try:
        await connection.connect()
        writer = connection._writer
        if hasattr(getattr(writer, "transport", None), "set_protocol"):
            connection._reader = connection._writer = None
            return Wire(told, writer)
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    await connection.disconnect(nowait=True)
    return Calls(told, client)


class Calls:
    """Asks by commands of a client.

    Args:
        told: Who is told what comes back.
        client: The client.
    """

    most: ClassVar[int] = 1

    def __init__(self, told: Conversation, client: Client) -> None:
        self.has_answered: bool = False
        self._told = told
        self._client = client
        self._asking: asyncio.Task[None] | None = None

    def say(self, questions: Sequence[Question], *, again: bool = False) -> None:
        """Send questions as one command; with the script where the server did not know it."""
        self._asking = asyncio.get_running_loop().create_task(self._ask(questions, again=again))

    def drop(self) -> None:
        """Wait for no answer any more."""
        if self._asking is not None:
            self._asking.cancel()

    async def aclose(self) -> None:
        """Wait until nothing is asked any more."""
        if self._asking is not None:
            await asyncio.wait([self._asking])

    async def _ask(self, questions: Sequence[Question], *, again: bool) -> None:
        keys, numbers = arguments(questions)
        run, script = (self._client.eval, SCRIPT) if again else (self._client.evalsha, SHA)
        try:
            answer = await run(script, len(keys), *map(unframed, keys), numbers)
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no answer
            if type(error).__name__ == "NoScriptError":  # clients have one of their own
                self._told.unknown(self)
            else:
                self._told.failed(self, error)
        else:
            self._told.answered(self, list(map(int, answer.split())))
