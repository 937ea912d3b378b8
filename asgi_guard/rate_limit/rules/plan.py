"""Plans: which rules a request meets, by its path and method, and how they are asked."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from asgi_guard._asgi import Scope
from asgi_guard.matching import Choice, Matcher
from asgi_guard.rate_limit.rules.charging import Charging
from asgi_guard.rate_limit.rules.running import RunningRule
from asgi_guard.rate_limit.rules.straight import Straight
from asgi_guard.rate_limit.rules.together import Together, together

Place: TypeAlias = tuple[Charging, bool]
"""A rule, and whether it spares the request."""

Ways: TypeAlias = Callable[[Sequence[RunningRule]], Straight | None]
"""Returns the straight way for plain rules, where there is one."""


class Plan:
    """The rules for the requests of one path and method.

    Args:
        places: The rules, each with whether it spares these requests.
        is_local: Whether counters are in this process.
        asks_first: Whether the guard has to ask somebody before its rules are.
        straight: Returns the straight way for plain rules, where there is one.

    Attributes:
        only: The rule that decides alone, by `hit`; or None.
        hit: Decides for a key, at once; what returns None here has to be asked for by `straight`.
        together: The rules that decide together so; or None.
        straight: The straight way to the store, where nobody else has to be asked; or None.
        plain: The rules that apply, where none of them has to ask anybody; or None.
        rules: The rules that apply.
        spared: The rules that would, if their exemptions did not name the path.
    """

    __slots__ = ("hit", "only", "plain", "rules", "spared", "straight", "together")

    def __init__(
        self, places: Sequence[Place], *, is_local: bool, asks_first: bool, straight: Ways
    ) -> None:
        self.rules: tuple[Charging, ...] = tuple(
            rule for rule, is_spared in places if not is_spared
        )
        self.spared: tuple[Charging, ...] = tuple(rule for rule, is_spared in places if is_spared)
        plain = tuple(rule.plain for rule in self.rules if rule.plain is not None)
        asks = len(plain) < len(self.rules) or (asks_first and bool(self.rules))
        self.plain: tuple[RunningRule, ...] | None = None if asks else plain
        at_once = is_local and not asks and not self.spared
        at_once &= all(
            rule.enforced == 1 and rule.count_when is None and not rule.bans for rule in plain
        )
        self.together: Together | None = together(plain) if at_once else None
        self.straight: Straight | None = None if asks or self.spared else straight(plain)
        self.hit: Any = None if self.straight is None else self.straight.hit
        if at_once and len(plain) == 1:
            self.hit = plain[0].hit
        self.only: RunningRule | None = None if self.hit is None else plain[0]


def choose_plans(
    rules: Sequence[tuple[Charging, Matcher | None, Matcher | None]],
    *,
    is_local: bool,
    asks_first: bool,
    straight: Ways,
) -> Choice[Place, Plan]:
    """Return the choice of a plan.

    Args:
        rules: The rules, each with what it applies to (None: everything), and which paths it
            spares (None: no path).
        is_local: Whether counters are in this process.
        asks_first: Whether the guard has to ask somebody before its rules are.
        straight: Returns the straight way for plain rules, where there is one.
    """

    def plan(places: Sequence[Place]) -> Plan:
        return Plan(places, is_local=is_local, asks_first=asks_first, straight=straight)

    items: list[tuple[Matcher | None, Place]] = []
    for rule, applies, spares in rules:
        if spares is None:
            items.append((applies, (rule, False)))
        else:
            items.append((_if(applies, spares, spared=False), (rule, False)))
            items.append((_if(applies, spares, spared=True), (rule, True)))
    return Choice(items, plan)


def _if(applies: Matcher | None, spares: Matcher, *, spared: bool) -> Matcher:
    def matches(scope: Scope) -> bool:
        return (applies is None or applies(scope)) and spares(scope) is spared

    return matches
