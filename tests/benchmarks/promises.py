"""Promises: a stack is only timed when it has been seen to do its job."""

import asyncio
import json

from asgi_guard._asgi import ASGIApp
from tests.benchmarks.driver import Address, Answer, addresses, exchange, started
from tests.benchmarks.frames import BROKEN, CROWD
from tests.benchmarks.stacks import LOOSE, TIGHT, Build, Promise, Settings, Stack

ALICE: Address
BOB: Address
ALICE, BOB = addresses(2)


class BrokenPromiseError(Exception):
    """A stack does not do what it is compared for."""


async def verify(stack: Stack) -> None:
    """Hold a stack to all that it promises.

    Raises:
        BrokenPromiseError: It does not keep one; the message says which.
    """
    for promise in (serves, *stack.promises):
        try:
            await promise(stack.build)
        except BrokenPromiseError as error:
            raise BrokenPromiseError(f"{stack.name}: {error}") from error


async def serves(build: Build) -> None:
    """The app is reached."""
    async with started(build(LOOSE)) as app:
        answer = await _ask(app, 200)
    _require(json.loads(answer.body) == {"hello": "world"}, f"the body is {answer.body!r}")


async def limits(build: Build) -> None:
    """A client over its quota is refused; another one is not."""
    await _refused(build)


async def throttles(build: Build) -> None:
    """A client over its quota is refused and told when to come back; another one is not."""
    refused = await _refused(build)
    _require("retry-after" in refused.headers, "a refusal has no Retry-After")


async def limits_by_each(build: Build) -> None:
    """Each of several limits holds, not only the shortest."""
    for quotas in (("1000000/minute", "1/hour", "1000000/day"), ("9/minute", "99/hour", "1/day")):
        await _refused(build, Settings(quotas, at_once=1))


async def _refused(build: Build, settings: Settings = TIGHT) -> Answer:
    async with started(build(settings)) as app:
        await _ask(app, 200, ALICE)
        refused = await _ask(app, 429, ALICE)
        await _ask(app, 200, BOB)
    return refused


async def caps(build: Build) -> None:
    """Only so many requests are inside at once."""
    for settings, expected in ((TIGHT, 1), (LOOSE, 5)):
        app = build(settings)
        crowd = [exchange(app, client, CROWD) for client in addresses(5)]
        inside = [json.loads(answer.body)["inside"] for answer in await asyncio.gather(*crowd)]
        _require(max(inside) == expected, f"with {settings}, {max(inside)} were inside at once")


async def answers_open_circuits(build: Build) -> None:
    """What a breaker refuses becomes a 503 with a time to come back at."""
    refused = await _ask(build(LOOSE), 503, path=BROKEN)
    _require("retry-after" in refused.headers, "an open circuit has no Retry-After")


def shows(*fields: str) -> Promise:
    """Promise header fields, on answers and on refusals alike."""

    async def shows_fields(build: Build) -> None:
        async with started(build(TIGHT)) as app:
            answers = (await _ask(app, 200), await _ask(app, 429))
        for answer in answers:
            missing = [field for field in fields if field not in answer.headers]
            _require(not missing, f"a {answer.status} lacks the header fields {missing}")

    return shows_fields


def reports(metric: str) -> Promise:
    """Promise a counter of requests under `/metrics`."""

    async def reports_metric(build: Build) -> None:
        app = build(LOOSE)
        await _ask(app, 200)
        samples = (await _ask(app, 200, path="/metrics")).body.decode().splitlines()
        counts = [float(line.split()[-1]) for line in samples if line.startswith(f"{metric}{{")]
        _require(sum(counts) > 0, f"/metrics does not count the request as {metric}")

    return reports_metric


def answers(path: str) -> Promise:
    """Promise an endpoint."""

    async def answers_path(build: Build) -> None:
        await _ask(build(LOOSE), 200, path=path)

    return answers_path


async def _ask(app: ASGIApp, status: int, client: Address = ALICE, path: str = "/hello") -> Answer:
    answer = await exchange(app, client, path)
    _require(answer.status == status, f"{path} is answered with {answer.status}, not {status}")
    return answer


def _require(kept: bool, complaint: str) -> None:
    if not kept:
        raise BrokenPromiseError(complaint)
