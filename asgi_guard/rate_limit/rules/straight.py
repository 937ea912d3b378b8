"""The straight way to a store: for rules that are charged alike by every request of a plan.

Most requests meet such rules only. A store that can prepares the question once, and answers in
numbers: nothing is made of a charge but its key, and nothing of a decision but its fields. Other
stores, and other rules, are asked by `Store.hit`.
"""

from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from asgi_guard._asgi import Scope
from asgi_guard.exchange import Exchange
from asgi_guard.rate_limit.decision import Decided
from asgi_guard.rate_limit.fields import Fields, JointFields
from asgi_guard.rate_limit.rules.running import RunningRule
from asgi_guard.rate_limit.rules.warming import Warming
from asgi_guard.rate_limit.stores.store import Charge, Counter

_MICROSECONDS = 1_000_000  # in a second
_EACH = 3  # numbers of an answer, for each charge


class Prepared(Protocol):
    """A question to a store that is asked again and again, and always alike but for its keys."""

    @property
    def lends(self) -> bool:
        """Whether some of it may be decided by what is on lease."""
        ...

    def ask(
        self, keys: tuple[str, ...], within: float, loop: AbstractEventLoop
    ) -> Awaitable[Sequence[int]]:
        """Charge all counters, or none of them if one refuses.

        Args:
            keys: A key for each counter.
            within: Seconds in which an answer is wanted.
            loop: The running event loop.

        Returns:
            Three numbers for each counter: what remains, the microseconds until there is more, and
            those after which it would admit: 0 where it admits, -1 for never.

        Raises:
            StoreUnavailable: There is no answer, or none within that time.
        """
        ...

    def use(
        self, keys: tuple[str, ...], within: float, loop: AbstractEventLoop
    ) -> Sequence[int] | None:
        """Charge what is on lease; return such numbers, or None where the store must be asked.

        Args:
            keys: A key for each counter.
            within: Seconds in which an answer is wanted to what this may ask for those who follow.
            loop: The running event loop.
        """
        ...

    def hit(self, key: str, cost: int, now: float, within: float) -> Decided | None:
        """Charge what is on lease, of a question with one counter.

        Args:
            key: Whom to charge.
            cost: Units.
            now: Seconds on the clock of the counters in this process.
            within: As for `use`.

        Returns:
            The decision, which admits; None where the store must be asked.
        """
        ...


@runtime_checkable
class Prepares(Protocol):
    """A store that can prepare questions."""

    def prepare(self, charges: Sequence[tuple[Counter, int]]) -> Prepared | None:
        """Prepare a question.

        Args:
            charges: The counters to charge, each with the cost.

        Returns:
            The question; None where these have to be charged by `hit`.
        """
        ...


Ask: TypeAlias = Callable[[tuple[str, ...], float, AbstractEventLoop], Awaitable[Sequence[int]]]
"""See `Prepared.ask`."""

Use: TypeAlias = Callable[[tuple[str, ...], float, AbstractEventLoop], Sequence[int] | None]
"""See `Prepared.use`."""


Hit: TypeAlias = Callable[[str, int, float], Decided | None]
"""See `MemoryCounter.hit`."""


class Straight:
    """The rules of a plan, to be asked the straight way.

    Args:
        rules: The rules, each enforced for every key, and settled when it is charged.
        prepared: The question.
        warming: Takes note of what counters of this process have to be charged as well.
        within: Seconds in which an answer is wanted.
        shown: Whether the fields of the draft are sent.

    Attributes:
        rules: The rules.
        ask: Asks the store; see `Prepared.ask`.
        use: Decides without asking the store, as far as it can; see `Prepared.use`. None where it
            never can.
        hit: Decides for a key of the only rule, as counters of this process do; None where it would
            have to ask the store. None where it never can, or there are several rules.
    """

    __slots__ = (
        "_fields",
        "_keys",
        "_prepared",
        "_same",
        "_spares",
        "_warming",
        "_within",
        "ask",
        "hit",
        "rules",
        "use",
    )

    def __init__(
        self,
        rules: Sequence[RunningRule],
        prepared: Prepared,
        warming: Warming,
        within: float,
        *,
        shown: bool,
    ) -> None:
        self.rules: tuple[RunningRule, ...] = tuple(rules)
        self.ask: Ask = prepared.ask
        self.use: Use | None = prepared.use if prepared.lends else None
        self._prepared = prepared
        self._within = within
        self.hit: Hit | None = self._hit if prepared.lends and len(rules) == 1 else None
        self._keys = [rule.key for rule in rules]
        self._same = len(rules) if all(key is self._keys[0] for key in self._keys) else 0
        self._fields = JointFields(rules) if shown else None
        self._warming = warming
        self._spares = [
            (rule.spare, place, rule.cost)
            for place, rule in enumerate(rules)
            if rule.spare is not None
        ]

    def keys(self, scope: Scope) -> tuple[Any, ...]:
        """Return the keys of a request, some None; a function that rules share is asked once."""
        if self._same:
            return (self._keys[0](scope),) * self._same
        return tuple(key(scope) for key in self._keys)

    def _hit(self, key: str, cost: int, now: float) -> Decided | None:
        decided = self._prepared.hit(key, cost, now, self._within)
        if decided is not None and self._spares:
            self._warming.note(self, (key,), now)
        return decided

    def charges(self, keys: Sequence[str]) -> list[Charge]:
        """Return what is charged."""
        pairs = zip(self.rules, keys, strict=True)
        return [(rule.counter, key, rule.cost) for rule, key in pairs]

    def admit(
        self, exchange: Exchange, keys: Sequence[str], numbers: Sequence[int], now: float
    ) -> bool:
        """Count a request, and note it for when the store will be out; return False for a refusal.

        Args:
            exchange: The request.
            keys: Its keys.
            numbers: What the store has answered.
            now: Seconds on the clock of the counters in this process.
        """
        if numbers[2] or (len(numbers) > _EACH and any(numbers[2::_EACH])):
            return False
        for rule in self.rules:
            rule.tally.allowed += 1
        if self._spares:
            self._warming.note(self, keys, now)
        if self._fields is not None:
            exchange.fields += self._fields.draft_of(numbers)
        return True

    def warm(self, keys: Sequence[str], now: float) -> None:
        """Charge the counters of this process; see `Warms.warm`."""
        for spare, place, cost in self._spares:
            spare.hit(keys[place], cost, now)


def decided(numbers: Sequence[int]) -> list[Decided]:
    """Return the decisions that an answer tells."""
    found: list[Decided] = []
    for at in range(0, len(numbers), _EACH):
        left, reset, retry = numbers[at : at + _EACH]
        wait = None if retry < 0 else retry / _MICROSECONDS
        found.append((retry == 0, left, reset / _MICROSECONDS, wait))
    return found


def straight(
    rules: Sequence[RunningRule], store: object, fields: Fields, warming: Warming, within: float
) -> Straight | None:
    """Return the straight way for these rules; None where there is none.

    Args:
        rules: The rules that apply, in a plan that asks nobody else.
        store: Where they count.
        fields: Which header fields are sent.
        warming: Takes note of what counters of this process have to be charged as well.
        within: Seconds in which an answer is wanted.
    """
    if not rules or not isinstance(store, Prepares) or fields in {"legacy", "both"}:
        return None
    if any(rule.enforced != 1 or rule.count_when is not None or rule.bans for rule in rules):
        return None
    prepared = store.prepare([(rule.counter, rule.cost) for rule in rules])
    if prepared is None:
        return None
    return Straight(rules, prepared, warming, within, shown=fields is not None)
