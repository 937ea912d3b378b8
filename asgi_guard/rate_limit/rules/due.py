"""What one request owes: to enforced rules all or nothing, and to each shadow rule by itself."""

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

from asgi_guard.rate_limit.decision import Decided
from asgi_guard.rate_limit.rules.running import RunningRule, count_ban
from asgi_guard.rate_limit.stores.memory import hit_all
from asgi_guard.rate_limit.stores.store import Charge, Store

Answers: TypeAlias = tuple[Sequence[Decided], Sequence[Decided]]
"""The decisions of enforced rules, and those of shadow rules; these may lack where those refuse."""


class Due:
    """The charges of one request, with their rules.

    A shadow rule is charged for what is admitted, and only for that, so that it counts what it
    would if it were enforced beside the others.

    Args:
        applied: The rules that apply.
        charges: A charge for each of them.

    Attributes:
        rules: The rules that are enforced.
        charges: Their charges.
        shadows: The rules that refuse nobody.
        shadow_charges: Their charges.
    """

    __slots__ = ("charges", "rules", "shadow_charges", "shadows")

    def __init__(self, applied: Sequence[RunningRule], charges: Sequence[Charge]) -> None:
        self.rules: list[RunningRule] = []
        self.charges: list[Charge] = []
        self.shadows: list[RunningRule] = []
        self.shadow_charges: list[Charge] = []
        for rule, charge in zip(applied, charges, strict=True):
            self._add(rule, charge, is_enforced=rule.enforces(charge[1]))

    def _add(self, rule: RunningRule, charge: Charge, *, is_enforced: bool) -> None:
        (self.rules if is_enforced else self.shadows).append(rule)
        (self.charges if is_enforced else self.shadow_charges).append(charge)

    def spares(self) -> "Due":
        """Return what is due to counters of this process while a store is out.

        A rule that has none there admits, which is counted.
        """
        due = Due((), ())
        for rules, charges, is_enforced in (
            (self.rules, self.charges, True),
            (self.shadows, self.shadow_charges, False),
        ):
            for rule, (_, key, cost) in zip(rules, charges, strict=True):
                if rule.spare is None:
                    rule.tally.allowed += 1
                else:
                    due._add(rule, (rule.spare, key, cost), is_enforced=is_enforced)
        return due

    def warm(self, now: float) -> None:
        """Charge the counters of this process too, for when the store will be out."""
        for rule, (_, key, cost) in zip(
            (*self.rules, *self.shadows), (*self.charges, *self.shadow_charges), strict=True
        ):
            if rule.warmed is not None and rule.count_when is None:
                rule.warmed.hit(key, cost, now)

    def hit(self, now: float) -> Answers:
        """Charge counters of this process."""
        decided = hit_all(self.charges, now)
        charges = self.shadow_charges
        if all_admit(decided):
            return decided, [counter.hit(key, cost, now) for counter, key, cost in charges]
        if any(rule.bans for rule in self.shadows):  # what they refuse as well counts for a ban
            return decided, [counter.look(key, cost, now) for counter, key, cost in charges]
        return decided, ()

    async def ask(self, store: Store, within: float, *, at_once: bool) -> Answers:
        """Charge counters of a store.

        Args:
            store: The store.
            within: Seconds for an answer.
            at_once: Whether shadow rules are charged before it is known whether the others refuse,
                in one trip; then what they took is given back.

        Raises:
            StoreUnavailable: There is no answer.
        """
        if not self.shadows:
            return await store.hit(self.charges, within=within), ()
        questions = [[charge] for charge in self.shadow_charges]
        decisions: Sequence[Decided] = ()
        if self.charges and at_once:
            questions.append(self.charges)
        elif self.charges:
            decisions = await store.hit(self.charges, within=within)
            if not all_admit(decisions):
                return decisions, ()
        # In the same turn of the loop: what a store is asked together, it may send together.
        asked = (store.hit(charges, within=within) for charges in questions)
        answers: list[Sequence[Decided]] = list(await asyncio.gather(*asked))
        if len(answers) > len(self.shadows):
            decisions = answers.pop()
        return decisions, [decided for (decided,) in answers]

    def owed(self, of_shadows: Sequence[Decided]) -> list[tuple[RunningRule, Charge]]:
        """Return the charges of an admitted request that its outcome may undo, with their rules."""
        pairs = list(zip(self.rules, self.charges, strict=True))
        shadows = zip(self.shadows, self.shadow_charges, of_shadows, strict=True)
        pairs += [(rule, charge) for rule, charge, decided in shadows if decided[0]]
        return [(rule, charge) for rule, charge in pairs if rule.count_when and charge[2]]

    def count_bans(self, decisions: Sequence[Decided]) -> None:
        """Count the bans that shadow rules would have begun for a request that was refused."""
        # What was not asked has no decision.
        for rule, decided in zip(self.shadows, decisions, strict=False):
            count_ban(rule, decided)

    def count_shadows(self, decisions: Sequence[Decided]) -> None:
        """Count what shadow rules have decided of a request that was admitted."""
        for rule, decided in zip(self.shadows, decisions, strict=True):
            if decided[0]:
                rule.tally.allowed += 1
            else:
                rule.tally.shadow_denied += 1
                count_ban(rule, decided)


def all_admit(decisions: Sequence[Decided]) -> bool:
    """Tell whether no decision refuses."""
    return all(admitted for admitted, *_ in decisions)


def taken(charges: Sequence[Charge], decisions: Sequence[Decided]) -> list[Charge]:
    """Return the charges that were made, of charges that were decided one by one; () for none."""
    # A store that was asked one after the other has no decisions of what it was not asked.
    return [charge for charge, decided in zip(charges, decisions, strict=False) if decided[0]]
