"""From how a call ended to its outcome: errors, statuses inside them, groups, and what one says."""

import asyncio
import http
import urllib.error
from email.message import Message
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from starlette.exceptions import HTTPException
from yarl import URL

from asgi_guard import (
    CallTimeout,
    CircuitOpen,
    ConcurrencyExceeded,
    ConfigurationError,
    QuotaExceeded,
)
from asgi_guard.breaker.outcome import Classifier
from asgi_guard.breaker.states import Outcome
from tests.breaker.breakers import DownError, afail, breaker, counted, fail

SUCCESS, FAILURE, IGNORED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.IGNORED
STATUSES = [
    (301, SUCCESS),
    (400, SUCCESS),
    (404, SUCCESS),
    (429, SUCCESS),
    (500, FAILURE),
    (501, IGNORED),
    (502, FAILURE),
    (503, FAILURE),
    (504, FAILURE),
    (505, IGNORED),
    (507, FAILURE),
    (599, FAILURE),
]


def outcome(error: BaseException | None, result: object = None, **more: Any) -> Outcome:
    """Return what a classifier says."""
    settings: dict[str, Any] = {"fail_on": Exception, "ignore": (), **more}
    return Classifier(**settings).outcome(error, result)


def of_httpx(status: int) -> Exception:
    """Return what `raise_for_status` of httpx raises."""
    response = httpx.Response(status, request=httpx.Request("GET", "http://down.example"))
    with pytest.raises(httpx.HTTPStatusError) as raised:
        response.raise_for_status()
    return raised.value


def of_aiohttp(status: int) -> Exception:
    """Return what `raise_for_status` of aiohttp raises."""
    fields = CIMultiDictProxy(CIMultiDict[str]())
    request = aiohttp.RequestInfo(URL("http://down.example"), "GET", fields)
    return aiohttp.ClientResponseError(request, (), status=status)


def of_starlette(status: int) -> Exception:
    """Return what an app raises."""
    return HTTPException(http.HTTPStatus(status) if status in {*http.HTTPStatus} else status)


def of_requests(status: int) -> Exception:
    """Return an error such as those of requests: its response has a status, and may be falsy."""

    class Response(SimpleNamespace):
        def __bool__(self) -> bool:
            return False

    error = OSError("a status")
    error.response = Response(status_code=status)  # type: ignore[attr-defined]
    return error


def of_urllib(status: int) -> Exception:
    """Return what `urlopen` raises."""
    return urllib.error.HTTPError("http://down.example", status, "no", Message(), None)


@pytest.mark.parametrize(("status", "expected"), STATUSES)
@pytest.mark.parametrize("client", [of_httpx, of_aiohttp, of_starlette, of_requests, of_urllib])
def test_an_error_that_carries_a_status_is_what_the_status_is(
    client: Any, status: int, expected: Outcome
) -> None:
    """An error of the client is an answer of the server."""
    if status < 400 and client is of_httpx:
        status = 404
    assert outcome(client(status)) is expected


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("late"),
        aiohttp.ClientConnectionError(),
        of_aiohttp(0),
        ConnectionResetError(),
        TimeoutError(),
        CallTimeout("late"),
        of_requests(True),
        of_requests(1000),
    ],
)
def test_an_error_without_a_status_is_a_failure(error: BaseException) -> None:
    """Nobody answered; and what is no status says nothing."""
    assert outcome(error) is FAILURE


def test_a_property_that_fails_does_not_hide_the_error() -> None:
    """As those of clients may when there was no response."""

    class LazyError(Exception):
        @property
        def response(self) -> object:
            raise RuntimeError("there was none")

    assert outcome(LazyError()) is FAILURE


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        GeneratorExit(),
        KeyboardInterrupt(),
        SystemExit(),
        CircuitOpen("open"),
        ConcurrencyExceeded("full"),
        QuotaExceeded("over"),
    ],
)
@pytest.mark.parametrize("say", [None, FAILURE, SUCCESS])
def test_what_came_from_outside_is_ignored_whatever_anybody_says(
    error: BaseException, say: Outcome | None
) -> None:
    """Though `fail_on` covers it, and `classify` would have it."""
    assert outcome(error, fail_on=BaseException, classify=lambda *_: say) is IGNORED


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([DownError(), KeyError()], FAILURE),
        ([KeyError(), CircuitOpen("open")], IGNORED),
        ([of_httpx(404), KeyError()], IGNORED),
        ([of_httpx(404), of_httpx(503)], FAILURE),
        ([ExceptionGroup("", [KeyError(), DownError()])], FAILURE),
        ([ExceptionGroup("", [KeyError()])], IGNORED),
    ],
)
def test_a_group_is_a_failure_when_it_holds_one(errors: list[Exception], expected: Outcome) -> None:
    """However deep."""
    assert outcome(ExceptionGroup("", errors), ignore=KeyError) is expected


def translated(error: BaseException, *, hides: bool = False) -> Exception:
    """Return an error that was raised from another, or while that was handled."""
    made = DownError()
    made.__cause__, made.__context__ = None if hides else error, error
    return made


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (translated(CircuitOpen("open")), IGNORED),
        (translated(translated(QuotaExceeded("over"))), IGNORED),
        (translated(ExceptionGroup("", [CircuitOpen("open"), QuotaExceeded("over")])), IGNORED),
        (translated(ExceptionGroup("", [CircuitOpen("open"), DownError()])), FAILURE),
        (ExceptionGroup("", [translated(CircuitOpen("open")), DownError()]), FAILURE),
        (translated(KeyError()), FAILURE),
        (translated(CircuitOpen("open"), hides=True), FAILURE),
    ],
)
def test_a_refusal_in_other_words_is_one(error: Exception, expected: Outcome) -> None:
    """Where that is said by `raise ... from`; what fails while a refusal is handled has failed."""
    assert outcome(error, ignore=KeyError) is expected
    assert outcome(error, classify=lambda *_: FAILURE) is FAILURE


def test_errors_that_are_each_others_cause_are_judged() -> None:
    """A circle has no end."""
    one, other = DownError(), DownError()
    one.__cause__, other.__cause__ = other, one
    assert outcome(one) is FAILURE


async def test_an_outer_breaker_does_not_trip_by_an_inner_one() -> None:
    """However the function between them calls a refusal."""
    outer, inner = breaker(consecutive_failures=1), breaker(consecutive_failures=1)
    inner.force_open()

    @outer
    async def order() -> None:
        try:
            await inner.acall(afail)
        except CircuitOpen as refused:
            raise DownError from refused

    with pytest.raises(DownError):
        await order()
    assert (counted(outer), outer.state.value) == ((0, 0, 1, 0), "closed")


def test_a_cancelled_group_is_ignored() -> None:
    """A task group that was cancelled holds nothing else."""
    group = BaseExceptionGroup("", [asyncio.CancelledError(), KeyboardInterrupt()])
    assert outcome(group, fail_on=BaseException) is IGNORED


def test_errors_outside_fail_on_are_ignored_and_no_success() -> None:
    """Whatever status they carry."""
    assert outcome(KeyError(), fail_on=OSError) is IGNORED
    assert outcome(of_httpx(503), fail_on=OSError) is IGNORED
    assert outcome(ConnectionError(), fail_on=OSError) is FAILURE


@pytest.mark.parametrize("said", [SUCCESS, FAILURE, IGNORED])
@pytest.mark.parametrize(("error", "result"), [(None, "empty"), (DownError(), None)])
def test_one_that_classifies_is_asked_first(
    said: Outcome, error: Exception | None, result: object
) -> None:
    """About errors and about results, with both at hand."""
    asked: list[tuple[object, object]] = []

    def classify(error: BaseException | None, result: Any) -> Outcome:
        asked.append((error, result))
        return said

    assert outcome(error, result, classify=classify) is said
    assert asked == [(error, result)]


def test_one_that_classifies_may_leave_it() -> None:
    """None is the usual."""
    assert outcome(None, classify=lambda *_: None) is SUCCESS
    assert outcome(DownError(), classify=lambda *_: None) is FAILURE
    assert outcome(KeyError(), ignore=KeyError, classify=lambda *_: None) is IGNORED


async def test_a_mistake_of_it_hides_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """The call's own leaves, and counts as usual; the mistake is logged once for all keys."""
    no_words: dict[str, Outcome] = {}

    def classify(error: BaseException | None, result: Any) -> Any:
        return 1 if isinstance(error, KeyError) else no_words["failed"]

    it = breaker(
        classify=classify,
        ignore=KeyError,
        fallback="stale",
        fallback_on="failure",
        consecutive_failures=99,
    )
    uses: list[Any] = [it.call, it.for_key("a").call, lambda function: it(function)()]
    assert [use(fail) for use in uses] == ["stale"] * 3
    assert await it.acall(afail) == "stale"
    for error in (DownError(), KeyError()):
        with pytest.raises(type(error)) as raised, it:
            raise error
        assert raised.value.__context__ is None
    assert counted(it) == (0, 5, 1, 0)
    logged = [each for each in caplog.records if each.levelname == "ERROR"]
    assert [each.exc_info and each.exc_info[0] for each in logged] == [KeyError]
    assert "classify" in logged[0].getMessage()


def test_what_ends_the_process_passes_through_it() -> None:
    """And holds no place."""

    def classify(error: BaseException | None, result: Any) -> Any:
        raise SystemExit

    it = breaker(classify=classify)
    with pytest.raises(SystemExit):
        it.call(fail)
    assert counted(it) == (0, 0, 1, 0)


def test_a_wrong_word_is_an_error_and_gives_the_call_back() -> None:
    """It says nothing of the downstream."""
    it = breaker(classify=lambda *_: "fine")
    with pytest.raises(Exception, match="Outcome"):
        it.call(lambda: 1)
    assert it.snapshot().ignored == 1


@pytest.mark.parametrize("classify", ["x", lambda: None, int, lambda one: None])
def test_one_that_cannot_classify_is_refused(classify: object) -> None:
    """Two arguments, and no type."""
    with pytest.raises(ConfigurationError, match=r"CircuitBreaker\.classify"):
        breaker(classify=classify)


def test_a_404_closes_what_is_half_open() -> None:
    """A server that says so is back."""
    it = breaker(recover_after=1)
    it.throttle(5.0)
    it.core.clock.advance(5.0)  # type: ignore[attr-defined]
    with pytest.raises(httpx.HTTPStatusError), it:
        raise of_httpx(404)
    assert it.state.value == "closed"
