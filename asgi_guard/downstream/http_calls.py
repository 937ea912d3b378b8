"""Calls of an HTTP client through a breaker: admitted before they are sent, settled at their end.

It knows no client: what differs between clients is told by `HttpErrors`, and by those who call.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from asgi_guard._checks import check_function
from asgi_guard.breaker.attempt import Attempt
from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.breaker.outcome import ErrorTypes
from asgi_guard.breaker.retry_after import retry_after
from asgi_guard.breaker.states import Outcome
from asgi_guard.breaker.statuses import ASKS_FOR_PEACE, outcome_of_status
from asgi_guard.callback import name_of, wrong_answer
from asgi_guard.downstream.checks import check_breaker
from asgi_guard.errors import CircuitOpen

R = TypeVar("R")

Key: TypeAlias = Callable[[R], str]
"""A plain function of a request: which of the breaker's children the call belongs to."""

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_SWITCHING_PROTOCOLS = 101


class Url(Protocol):
    """An address, as far as it is looked at."""

    @property
    def scheme(self) -> str:
        """Such as `https`."""
        ...

    @property
    def host(self) -> str | None:
        """The host, without brackets."""
        ...

    @property
    def port(self) -> int | None:
        """The port; None where it may be the usual one."""
        ...


class HasUrl(Protocol):
    """A request, as far as the usual key looks at it."""

    @property
    def url(self) -> Any:
        """Where it goes: a `Url`."""
        ...


def host_and_port(request: HasUrl) -> str:
    """Return `host:port` of where a request goes: the usual key."""
    url: Url = request.url
    port = _PORTS.get(url.scheme) if url.port is None else url.port
    host = url.host or ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def raised_in(error: BaseException, library: str) -> bool:
    """Tell whether an error was raised by the code of a library itself, and not by its callers."""
    part = error.__traceback__
    while part is not None and part.tb_next is not None:
        part = part.tb_next
    module = "" if part is None else str(part.tb_frame.f_globals.get("__name__"))
    return module.partition(".")[0] == library


@dataclass(frozen=True, slots=True)
class HttpErrors(Generic[R]):
    """The errors of a client, and which of them tell something about the server.

    Args:
        telling: Errors that tell how the server is.
        local: Those among them that do not: the caller's mistakes, and its own pool that is full.
        refused: Makes the error of this client that a refused call raises, of the request.
        of_status: Makes the error that this client raises for the status of a response.
        is_of_status: Tells whether an error is what this client raises for the status of a
            response, whoever asked for it.
    """

    telling: ErrorTypes
    local: ErrorTypes
    refused: Callable[[CircuitOpen, R], Exception]
    of_status: Callable[[Any], Exception]
    is_of_status: Callable[[BaseException, Any], bool]


class HttpCalls(Generic[R]):
    """Puts the calls of one client through a breaker.

    Args:
        owner: What errors call the thing that was set up so.
        breaker: The breaker, or the parent of those of each key.
        key: Which child a request belongs to; None: all belong to the breaker itself.
        errors: The errors of the client.

    Raises:
        ConfigurationError: The breaker is none, or the key is no plain function of a request.
    """

    __slots__ = ("_breaker", "_errors", "_key")

    def __init__(
        self, owner: str, breaker: CircuitBreaker, key: Key[R] | None, errors: HttpErrors[R]
    ) -> None:
        check_breaker(f"{owner}.breaker", breaker)
        if key is not None:
            check_function(f"{owner}.key", key, "a plain function of a request, or None")
        self._breaker = breaker
        self._key = key
        self._errors = errors

    def begin(self, request: R) -> "HttpCall[R]":
        """Admit a call.

        Raises:
            CircuitOpen: It is refused; the error is one of the client's as well.
        """
        breaker = self._breaker
        if self._key is not None:
            key: object = self._key(request)
            if not isinstance(key, str):
                raise wrong_answer(f"the key function {name_of(self._key)}", key, "a str")
            breaker = breaker.for_key(key)
        try:
            return HttpCall(breaker.attempt(), self._errors)
        except CircuitOpen as refusal:
            raise self._errors.refused(refusal, request) from None


class HttpCall(Generic[R]):
    """One call that is under way.

    Args:
        attempt: The attempt, which is settled by what is said here first.
        errors: The errors of the client.
    """

    __slots__ = ("_around", "_attempt", "_errors", "_is_decoding", "_response")

    def __init__(self, attempt: Attempt, errors: HttpErrors[R]) -> None:
        self._attempt = attempt
        self._errors = errors
        self._response: object = None
        self._is_decoding = False
        self._around = sys.exception()  # what the caller is handling already: it stands for nothing

    @property
    def is_settled(self) -> bool:
        """Whether its outcome is known."""
        return self._attempt.is_settled

    def answered(
        self, response: object, status: int, asked: str | None, date: str | None = None
    ) -> None:
        """Take in the head of the response: from here on the call is not slow.

        Only a success waits for the end of the body. A server that asks for peace gets it.

        Args:
            response: The response.
            status: Its status.
            asked: Its `Retry-After` field; None without one.
            date: Its `Date` field; default None: without one.
        """
        self._attempt.answered()
        self._response = response
        if outcome_of_status(status) is not Outcome.SUCCESS:
            self._end(self._errors.of_status(response))
        elif status == _SWITCHING_PROTOCOLS:
            self.ended()
        if status in ASKS_FOR_PEACE:
            seconds = retry_after(asked, time.time(), date)
            if seconds is not None:
                self._attempt.throttle(seconds)

    def ended(self) -> None:
        """Take in that the body has ended: the head counts.

        While some of it is decoded, that is still to be seen.
        """
        if not self._is_decoding:
            self._end(None)

    def let_go(self) -> None:
        """Take in that nobody reads on: the head counts, unless an error of the caller's is why.

        An error that tells the status of the response is no other than the head.
        """
        if self._is_decoding:
            return
        error = sys.exception()
        if (
            error is None
            or error is self._around
            or self._errors.is_of_status(error, self._response)
        ):
            self.ended()
        else:
            self.told_nothing()

    def decoding(self) -> None:
        """Take in that the next part of the body is read and decoded."""
        self._is_decoding = True

    def decoded(self) -> None:
        """Take in that this part is decoded."""
        self._is_decoding = False

    def failed(self, error: BaseException) -> None:
        """Take in that the call, or the body, ended with an error."""
        if isinstance(error, self._errors.telling) and not isinstance(error, self._errors.local):
            self._end(error)
        else:
            self.told_nothing()

    def told_nothing(self) -> None:
        """Take in that the call ended in a way that is not the server's doing."""
        self._attempt.ignore()
        self._response = self._around = None

    def _end(self, error: BaseException | None) -> None:
        # It forgets the response, and the error around it, which may hold it in turn.
        response, self._response = self._response, None
        self._around = None
        if not self._attempt.is_settled:
            self._attempt.end(error, response)
