"""Clients of redis-py, sync and asyncio, that put every command and pipeline through a breaker.

A command is one call, with all its retries: a refused one is not sent, and does not wait for a
connection of the pool. Subscriptions are left alone: what they wait for may never come.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

from redis import exceptions

from asgi_guard._checks import is_async
from asgi_guard.breaker.attempt import Attempt
from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.breaker.outcome import ErrorTypes
from asgi_guard.downstream.checks import check_breaker
from asgi_guard.errors import ConfigurationError, Withheld

Method: TypeAlias = Callable[..., Any]

T = TypeVar("T")

# All of them are connection errors to redis-py: a password is wrong, or our own pool is full.
_LOCAL: ErrorTypes = (
    exceptions.AuthenticationError,
    exceptions.AuthorizationError,
    exceptions.MaxConnectionsError,
)
_AMISS: ErrorTypes = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ClusterDownError,
    exceptions.InvalidResponse,
    ConnectionError,
    TimeoutError,
)
_POOL_IS_FULL = "No connection available."  # a pool that blocks has no error of its own for it
_SENDS = ("execute_command", "pipeline")
_MARK = "_asgi_guard"  # on a client, with its breaker and what detaches it
_PIPELINE_SENDS = ("execute", "immediate_execute_command")


def guard_redis(client: object, breaker: CircuitBreaker) -> Callable[[], None]:
    """Put the commands of a client through a breaker, and those of pipelines that it makes later.

    Connection errors, timeouts and a cluster that is down are failures. An error that the server
    answers with is a success. A password that is refused and a pool that is full are neither.

    To guard it again with the same breaker changes nothing.

    Args:
        client: A client of `redis` or `redis.asyncio`, alone or of a cluster.
        breaker: The breaker; one for each server.

    Returns:
        What to call to leave the client alone again; pipelines that it has made keep the breaker.

    Raises:
        ConfigurationError: The client or the breaker is none, or another breaker guards the client.
    """
    check_breaker("guard_redis.breaker", breaker)
    if isinstance(client, type) or not all(
        callable(getattr(client, name, None)) for name in _SENDS
    ):
        raise ConfigurationError(
            "guard_redis.client", Withheld(client), "a client of redis or redis.asyncio"
        )
    if _MARK not in vars(client):
        setattr(client, _MARK, (breaker, _guard(client, breaker)))
    known: CircuitBreaker
    detach: Callable[[], None]
    known, detach = getattr(client, _MARK)
    if known is not breaker:
        raise ConfigurationError(
            "guard_redis.breaker",
            breaker,
            f"the one that guards this client already ({known.name}), or to be given after what "
            "guard_redis returned then was called",
        )
    return detach


def _guard(guarded: Any, breaker: CircuitBreaker) -> Callable[[], None]:
    before = {name: vars(guarded).get(name) for name in _SENDS}
    make_pipeline: Method = guarded.pipeline

    @functools.wraps(make_pipeline)
    def pipeline(*args: Any, **kwargs: Any) -> Any:
        return _guarded_pipeline(make_pipeline(*args, **kwargs), breaker)

    guarded.execute_command = _Sending(breaker).guarded(guarded.execute_command)
    guarded.pipeline = pipeline

    def detach() -> None:
        if vars(guarded).get(_MARK, (None, None))[1] is not detach:
            return  # it was called before
        delattr(guarded, _MARK)
        for name, method in before.items():
            if method is None:
                vars(guarded).pop(name, None)
            else:
                setattr(guarded, name, method)

    return detach


def _guarded_pipeline(pipeline: T, breaker: CircuitBreaker) -> T:
    sending = _Sending(breaker, alone=True)
    for name in _PIPELINE_SENDS:
        method = getattr(pipeline, name, None)
        if method is not None:
            setattr(pipeline, name, sending.guarded(method))
    return pipeline


class _Sending:
    # alone: nobody else uses it at the same time. A pipeline loads its scripts with commands of its
    # own before it executes, which belong to the same call: another trial might not be free.
    def __init__(self, breaker: CircuitBreaker, *, alone: bool = False) -> None:
        self._breaker = breaker
        self._alone = alone
        self._under_way = False

    def guarded(self, method: Method) -> Method:
        if is_async(method):

            @functools.wraps(method)
            async def send(*args: Any, **kwargs: Any) -> Any:
                with self._call():
                    return await method(*args, **kwargs)

            return send

        @functools.wraps(method)
        def send_plainly(*args: Any, **kwargs: Any) -> Any:
            with self._call():
                return method(*args, **kwargs)

        return send_plainly

    @contextmanager
    def _call(self) -> Iterator[None]:
        if self._under_way:
            yield
            return
        attempt = self._breaker.attempt()
        self._under_way = self._alone
        try:
            yield
        except BaseException as error:
            _take_error(attempt, error)
            raise
        finally:
            self._under_way = False
        attempt.success()


def _take_error(attempt: Attempt, error: BaseException) -> None:
    if isinstance(error, _LOCAL) or str(error) == _POOL_IS_FULL:
        attempt.ignore()
    elif isinstance(error, _AMISS):
        attempt.end(error)
    elif isinstance(error, exceptions.ResponseError):
        attempt.success()
    else:
        attempt.ignore()
