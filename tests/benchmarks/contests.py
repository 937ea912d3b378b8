"""Contests: which stacks are compared with which."""

import re

from tests.benchmarks import today
from tests.benchmarks.contest import Contest, bare, entries
from tests.benchmarks.frames import fastapi, plain_asgi
from tests.benchmarks.ours import full_stack, our_stacks, rate_limit
from tests.benchmarks.peers.place import Databases
from tests.benchmarks.rate_limits import rate_limits_in_memory, rate_limits_on_redis

_ASSEMBLED = (
    "`assembled` is SlowAPIASGIMiddleware with its header fields, the instrumentator, a middleware "
    "round an asyncio.Semaphore, and a /health route; with the decorator, slowapi limits the one "
    "route; SlowAPIMiddleware is what apps found in public install."
)


def contests(pattern: re.Pattern[str], databases: Databases | None = None) -> list[Contest]:
    """Return everything that is compared, between the stacks whose `TABLE: NAME` matches.

    Args:
        pattern: A regular expression.
        databases: Where stacks with a store put it; without them, those stacks stay out.
    """
    known = [*_guards(), *rate_limits_in_memory()]
    if databases is not None:
        known += rate_limits_on_redis(databases)
    found = (contest.only(pattern.search) for contest in known)
    return [contest for contest in found if contest is not None]


def _guards() -> list[Contest]:
    return [
        Contest(
            "Plain ASGI",
            entries(*bare(plain_asgi), *our_stacks(plain_asgi)),
            full_stack(plain_asgi).name,
        ),
        Contest(
            "FastAPI",
            entries(
                *bare(fastapi),
                *our_stacks(fastapi),
                *today.PARTS,
                today.DECORATOR_STACK,
                today.CLASSIC_STACK,
                today.MIDDLEWARE_STACK,
            ),
            today.MIDDLEWARE_STACK.name,
            note=_ASSEMBLED,
        ),
        Contest(
            "FastAPI, refusing with 429",
            (
                *entries(bare(fastapi)[0]),
                *entries(
                    rate_limit(fastapi),
                    full_stack(fastapi),
                    today.SLOWAPI_DECORATOR,
                    today.SLOWAPI_MIDDLEWARE,
                    today.MIDDLEWARE_STACK,
                    refuse=True,
                ),
            ),
            today.SLOWAPI_MIDDLEWARE.name,
            whole=True,
        ),
    ]
