"""Rules that are charged together, in one step, for whoever sends the request: the short way."""

from collections.abc import Callable, Sequence

from asgi_guard._asgi import Scope  # noqa: TC001
from asgi_guard.rate_limit.decision import Decided
from asgi_guard.rate_limit.fields import JointFields
from asgi_guard.rate_limit.rules.running import RunningRule
from asgi_guard.rate_limit.stores.memory import refuse_all


class Together:
    """Several rules that charge the same key in this process, and nothing else.

    Args:
        rules: The rules, at least one; all have the same key function.

    Attributes:
        rules: The rules.
        key: Whom to charge.
        fields: Their header fields.
    """

    __slots__ = ("_hits", "_tallies", "fields", "key", "rules")

    def __init__(self, rules: Sequence[RunningRule]) -> None:
        self.rules: Sequence[RunningRule] = rules
        self.key: Callable[[Scope], str | None] = rules[0].key
        self.fields: JointFields = JointFields(rules)
        self._hits = [(rule.hit, rule.cost) for rule in rules]
        self._tallies = [rule.tally for rule in rules]

    def hit(self, key: str, now: float) -> tuple[bool, list[Decided]]:
        """Charge all rules and count that, or none of them if one refuses.

        Returns:
            Whether all admitted, and what each has decided.
        """
        decided: list[Decided] = []
        for hit, cost in self._hits:
            decision = hit(key, cost, now)
            decided.append(decision)
            if not decision[0]:
                charges = [(rule.counter, key, rule.cost) for rule in self.rules]
                return False, refuse_all(charges, decided, now)
        for tally in self._tallies:
            tally.allowed += 1
        return True, decided


def together(rules: Sequence[RunningRule]) -> Together | None:
    """Return rules as those that are charged together, if they are."""
    if len(rules) < 2 or any(rule.key != rules[0].key for rule in rules):  # noqa: PLR2004
        return None
    return Together(rules)
