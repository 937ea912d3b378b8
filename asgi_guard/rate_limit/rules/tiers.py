"""Tiers: which quota of a rule a key has, where a function says so."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from asgi_guard._asgi import Scope
from asgi_guard._clock import Clock
from asgi_guard.callback import Callback, wrong_answer
from asgi_guard.errors import ConfigurationError, shown
from asgi_guard.rate_limit.quota import Quota
from asgi_guard.rate_limit.recent import Recent
from asgi_guard.rate_limit.rules.rule import QuotaFunction, Rule
from asgi_guard.rate_limit.rules.running import RunningRule

Tier: TypeAlias = RunningRule | None
"""The rule at work with one of its quotas; None for whom it exempts."""

_LOG = logging.getLogger("asgi_guard")
_MOST_ANSWERS = 10_000
_MOST_TIERS = 1000
_AFTER_FAILURE = 1.0  # seconds; so that a function that fails is not asked by every request
_BETWEEN_WARNINGS = 60.0  # seconds


class Tiers:
    """The quotas of one rule, asked for once per key in a while.

    Requests of one key that come while its function is awaited wait for the same answer: whoever
    of them goes away, the others get it. What was used of one quota counts towards the next, where
    the period is the same.

    Args:
        rule: The rule.
        function: What its quota is: asks for that of a key.
        run: Puts a rule with a quota to work.
        now: The clock, for the time that answers hold.
    """

    def __init__(
        self,
        rule: Rule,
        function: QuotaFunction,
        run: Callable[[Rule], RunningRule],
        now: Clock,
    ) -> None:
        self._rule = rule
        self._run = run
        self._now = now
        self._quota = Callback("quota function", function, _quota_or_none)
        self._default = None if rule.default_quota is None else run(rule.tier(rule.default_quota))
        self._answers: Recent[tuple[Tier, float]] = Recent(_MOST_ANSWERS)
        self._tiers: dict[str | Quota, RunningRule] = {}
        self._periods: set[tuple[str, float]] = set()
        self._asking: WeakKeyDictionary[
            asyncio.AbstractEventLoop, dict[str, asyncio.Task[Tier]]
        ] = WeakKeyDictionary()
        self._next_warning = float("-inf")

    async def of(self, scope: Scope, key: str) -> Tier:
        """Return the tier of a key, which the request of this scope has."""
        known = self._answers.get(key)
        if known is not None and self._now() < known[1]:
            return known[0]
        if not self._quota.waits:
            return await self._find(scope, key)
        loop = asyncio.get_running_loop()
        asking = self._asking.setdefault(loop, {})
        task = asking.get(key)
        if task is None:
            task = asking[key] = loop.create_task(self._find(scope, key))
            task.add_done_callback(_seen)  # all who wait may have left before it fails
            task.add_done_callback(lambda _: asking.pop(key))
        return await asyncio.shield(task)

    async def _find(self, scope: Scope, key: str) -> Tier:
        """Ask, and remember the answer."""
        holds = self._rule.quota_ttl
        try:
            answer = await self._quota.ask(scope)
            tier = None if answer is None else self._tiers.get(answer) or self._new_tier(answer)
        except Exception as error:
            if self._default is None:
                raise
            self._warn(error)
            known = self._answers.get(key)
            tier = self._default if known is None else known[0]
            holds = min(holds, _AFTER_FAILURE)
        self._answers.keep(key, (tier, self._now() + holds))
        return tier

    def _new_tier(self, answer: str | Quota) -> RunningRule:
        try:
            rule = self._rule.tier(answer)
            self._check_period(rule)
            tier = self._run(rule)
        except ConfigurationError as error:
            raise ValueError(f"{self._quota.asked} returned a wrong quota: {error}") from error
        if len(self._tiers) >= _MOST_TIERS:
            self._tiers.clear()
        self._tiers[answer] = tier
        return tier

    def _check_period(self, rule: Rule) -> None:
        """Keep the number of periods small: a store may have a table for each of them, for good."""
        quota = rule.whole_quota
        period = rule.counting, quota.period * quota.capacity / quota.count
        if period not in self._periods and len(self._periods) >= _MOST_TIERS:
            raise ConfigurationError(
                "Rule.quota", rule.quota, f"at most {_MOST_TIERS} periods in all quotas of a rule"
            )
        self._periods.add(period)

    def _warn(self, error: Exception) -> None:
        if self._now() >= self._next_warning:
            self._next_warning = self._now() + _BETWEEN_WARNINGS
            _LOG.warning(
                "rate limit: %s of rule %r fails, its last answers and default_quota hold: %s",
                self._quota.asked,
                self._rule.label,
                shown(error),
            )


def _quota_or_none(asked: str, answer: object) -> str | Quota | None:
    if answer is not None and not isinstance(answer, str | Quota):
        raise wrong_answer(asked, answer, "a quota such as '5/minute', a Quota, or None to exempt")
    return answer


def _seen(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()
