"""Connections that are dialled again when they are lost, without a stampede."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, TypeVar

from asgi_guard._checks import check_count, check_function, check_seconds
from asgi_guard.breaker.attempt import Attempt
from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.breaker.states import Outcome
from asgi_guard.downstream.backoff import wait_before
from asgi_guard.downstream.endings import FATAL, Ending, ending_of_connection, ending_of_dial
from asgi_guard.errors import ConfigurationError, ReconnectStopped

W = TypeVar("W")

_CODES = range(100, 5000)
_CONNECT = (
    "a plain function without arguments that returns an async context manager, such as "
    "lambda: websockets.connect(url)"
)
_log = logging.getLogger("asgi_guard.downstream")


def reconnecting(
    connect: Callable[[], AbstractAsyncContextManager[W]],
    breaker: CircuitBreaker,
    *,
    backoff: float = 1.0,
    backoff_max: float = 60.0,
    min_uptime: float = 5.0,
    max_attempts: int | None = None,
    fatal: Collection[int] = FATAL,
) -> AsyncGenerator[W, None]:
    """Yield a connection, and another one each time that the loop asks for the next.

    Each dial is a call through the breaker, which all connections to the same server share, and
    nothing else: what HTTP says of a server is another matter. While it is open nobody dials; while
    it is half-open as many do as there may be trials, and the others wait. A connection is a
    success once it has been open for `min_uptime`, so that a server that accepts and drops trips
    the breaker.

    Lost connections and close codes 1011 to 1014, as well as handshakes that fail or are answered
    with 500 and above, are failures; all other codes and statuses say nothing, though they too are
    dialled after a back-off. An error without a status is what the breaker takes it for; one that
    it ignores is raised. `Retry-After` opens the breaker for so long.

    It is an async generator: with `contextlib.aclosing` round it the connection is closed when the
    loop is left, and otherwise soon after. A dial that is cancelled gives its trial back.

    Args:
        connect: A plain function that returns an async context manager of a connection, such as
            `lambda: websockets.connect(url)`. Errors of the function itself are raised. The
            connection tells by a `close_code`, None while it is open, how it ended, as those of
            websockets do.
        breaker: The breaker of these connections. Its `trial_lease` has to be longer than a dial
            and `min_uptime` take together.
        backoff: Seconds of the first back-off at most, above 0; default 1. It doubles with each
            dial that brings no lasting connection, and how much of it is waited is left to chance.
        backoff_max: The most seconds of a back-off, from `backoff` up; default 60.
        min_uptime: Seconds after which a connection lasts, above 0; default 5.
        max_attempts: Dials in a row without a lasting connection after which to give up, from 1 up;
            default None: never.
        fatal: Statuses of handshakes, and close codes, after which nobody dials again; default
            401, 403, 404 and 1008.

    Raises:
        ConfigurationError: A value is out of its range.
        ReconnectStopped: From the loop, after a fatal status or close code, or `max_attempts`.
    """
    check_function("reconnecting.connect", connect, _CONNECT, takes=0)
    if not isinstance(breaker, CircuitBreaker):
        raise ConfigurationError("reconnecting.breaker", breaker, "a CircuitBreaker")
    check_seconds("reconnecting.backoff", backoff)
    check_seconds("reconnecting.backoff_max", backoff_max)
    if backoff_max < backoff:
        raise ConfigurationError(
            "reconnecting.backoff_max", backoff_max, f"at least backoff ({backoff:g})"
        )
    check_seconds("reconnecting.min_uptime", min_uptime)
    if max_attempts is not None:
        check_count("reconnecting.max_attempts", max_attempts)
    if not isinstance(fatal, Collection) or not all(code in _CODES for code in fatal):
        raise ConfigurationError(
            "reconnecting.fatal", fatal, "statuses of handshakes and close codes, such as {401}"
        )
    return _connections(
        connect, _Line(breaker, backoff, backoff_max, max_attempts, frozenset(fatal)), min_uptime
    )


async def _connections(
    connect: Callable[[], AbstractAsyncContextManager[W]], line: "_Line", min_uptime: float
) -> AsyncGenerator[W, None]:
    while True:
        attempt = await line.attempt()
        try:
            making = connect()
            try:
                connection = await making.__aenter__()
            except Exception as error:  # noqa: BLE001 - it is judged, and raised if it says nothing
                ending = ending_of_dial(error, line.breaker, time.time())
            else:
                uptime = _Uptime(connection, attempt, line, min_uptime)
                try:
                    yield connection
                finally:
                    ending = uptime.end()
                    with suppress(Exception):  # of closing what may be lost
                        await making.__aexit__(None, None, None)
            line.settle(attempt, ending)
        finally:
            attempt.ignore()  # where nothing has been said: what is cancelled gives its trial back
        await line.pause(ending)


class _Line:
    """One line of connections, one after another."""

    def __init__(
        self,
        breaker: CircuitBreaker,
        backoff: float,
        backoff_max: float,
        max_attempts: int | None,
        fatal: frozenset[int],
    ) -> None:
        self.breaker = breaker
        self.failures = 0
        self._backoff = backoff
        self._backoff_max = backoff_max
        self._max_attempts = max_attempts
        self._fatal = fatal

    async def attempt(self) -> Attempt:
        """Wait until the breaker admits a dial."""
        while True:
            attempt = self.breaker.try_acquire()
            if attempt is not None:
                self.failures += 1  # until it lasts
                return attempt
            await asyncio.sleep(self._wait(0, 0.0))

    def lasts(self) -> None:
        """Begin the back-off anew."""
        self.failures = 0

    def settle(self, attempt: Attempt, ending: Ending) -> None:
        """Tell the breaker how it ended."""
        if attempt.is_settled:
            return
        if ending.outcome is Outcome.FAILURE:
            attempt.failure(ending.error)
        else:
            attempt.ignore()
        attempt.throttle(ending.wait)

    async def pause(self, ending: Ending) -> None:
        """Wait until the next dial, or raise where there shall be none."""
        cause = ending.error
        name = self.breaker.name
        if ending.code in self._fatal:
            raise ReconnectStopped(f"{name}: {ending.why} is final", ending.code) from cause
        if cause is not None and ending.code is None and ending.outcome is Outcome.IGNORED:
            raise cause
        if self._max_attempts is not None and self.failures >= self._max_attempts:
            in_vain = f"{name}: no lasting connection in {self.failures} dials, the last: "
            raise ReconnectStopped(in_vain + ending.why, ending.code) from cause
        wait = self._wait(self.failures, min(ending.wait, self.breaker.core.retry_after_max))
        _log.info("%s: %s; dials again in %.3g s", name, ending.why, wait)
        await asyncio.sleep(wait)

    def _wait(self, failures: int, asked: float) -> float:
        deadline = self.breaker.retry_after
        return wait_before(
            failures,
            first=self._backoff,
            longest=self._backoff_max,
            # Somebody has forced it open: look now and then.
            deadline=max(asked, self._backoff_max if deadline is None else deadline),
            luck=random.random(),  # noqa: S311 - it spreads, and guards no secret
        )


class _Uptime:
    """Watches whether one connection lasts."""

    def __init__(self, connection: Any, attempt: Attempt, line: _Line, min_uptime: float) -> None:
        self._connection = connection
        self._attempt = attempt
        self._line = line
        self._timer = asyncio.get_running_loop().call_later(min_uptime, self._look)

    def end(self) -> Ending:
        """Watch no longer; return how it ended."""
        self._timer.cancel()
        return ending_of_connection(self._code())

    def _look(self) -> None:
        code = self._code()
        if code is None:
            self._attempt.success()
            self._line.lasts()
        else:  # though nobody has noticed
            self._line.settle(self._attempt, ending_of_connection(code))

    def _code(self) -> int | None:
        code = getattr(self._connection, "close_code", None)
        return code if isinstance(code, int) else None
