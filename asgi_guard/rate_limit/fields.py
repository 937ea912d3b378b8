"""The header fields that tell clients what is left of their quotas.

`RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-11 are lists of RFC 9651:
strings (the names of policies) with parameters. The legacy fields know one quota, and nothing but
custom says what they mean; here `X-RateLimit-Reset` is a Unix time in whole seconds.
"""

from collections.abc import Iterable, Sequence
from math import ceil
from time import time
from typing import Literal, Protocol, TypeAlias

from asgi_guard.rate_limit.decision import Decided
from asgi_guard.rate_limit.quota import Quota

Field = tuple[bytes, bytes]
_LISTS = (b"ratelimit-policy", b"ratelimit")
_EACH = 3  # numbers that tell a rule's state
_SECOND = 1_000_000  # microseconds

Fields: TypeAlias = Literal["draft-11", "legacy", "both"] | None
"""Which header fields there are."""


class RuleFields:
    """One rule's members of the two fields: all that never changes, rendered once.

    `state` waits for what remains, and for the whole seconds until there is more.
    """

    __slots__ = ("limit_field", "policy", "policy_field", "state")

    def __init__(self, name: str, quota: Quota) -> None:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"').encode("ascii")
        # A bucket is told as what it holds, and the time in which it fills: the rate is the same.
        window = max(1, ceil(quota.period * quota.capacity / quota.count))
        self.policy: bytes = b'"%s";q=%d;w=%d' % (quoted, quota.capacity, window)
        self.state: bytes = b'"%s";r=%%d;t=%%d' % quoted.replace(b"%", b"%%")
        self.policy_field: Field = (b"ratelimit-policy", self.policy)
        self.limit_field: Field = (b"x-ratelimit-limit", b"%d" % quota.capacity)


class HasFields(Protocol):
    """A rule, as far as its fields are concerned."""

    @property
    def fields(self) -> RuleFields:
        """Its members of the two fields."""
        ...


class JointFields:
    """The fields of several rules that always apply together: rendered at once, where they can be.

    Args:
        rules: The rules, at least one.
    """

    __slots__ = ("_policy_field", "_rules", "_state")

    def __init__(self, rules: "Sequence[HasFields]") -> None:
        self._rules = rules
        self._policy_field: Field = (
            b"ratelimit-policy",
            b", ".join(rule.fields.policy for rule in rules),
        )
        self._state = b", ".join(rule.fields.state for rule in rules)

    def draft_of(self, numbers: Sequence[int]) -> tuple[Field, ...]:
        """Render them of three numbers for each rule: the second is the microseconds to reset."""
        if len(numbers) == _EACH:  # nearly always
            left, reset, _ = numbers
            return self._policy_field, (b"ratelimit", self._state % (left, -(-reset // _SECOND)))
        least = 0
        shown: list[int] = []
        for at in range(0, len(numbers), _EACH):
            left = numbers[at]
            if left < least:
                decided = [
                    (True, numbers[at], numbers[at + 1] / 1e6, 0.0)
                    for at in range(0, len(numbers), _EACH)
                ]
                return draft_fields(self._rules, decided)
            least = left
            shown.append(left)
            shown.append(-(-numbers[at + 1] // _SECOND))
        return self._policy_field, (b"ratelimit", self._state % tuple(shown))

    def draft(self, decisions: Sequence[Decided]) -> tuple[Field, ...]:
        """Render the fields of the draft, the tightest first."""
        least = 0
        numbers: list[int] = []
        for decided in decisions:
            left = decided[1]
            if left < least:  # another order than that of the rules
                return draft_fields(self._rules, decisions)
            least = left
            numbers.append(left)
            numbers.append(ceil(decided[2]))
        return self._policy_field, (b"ratelimit", self._state % tuple(numbers))


def draft_fields(rules: Sequence[HasFields], decisions: Sequence[Decided]) -> tuple[Field, ...]:
    """Render the fields of the draft for the rules that applied, the tightest first."""
    if len(rules) == 1:  # nearly always, and there is nothing to sort
        own = rules[0].fields
        _, left, seconds, _ = decisions[0]
        return own.policy_field, (b"ratelimit", own.state % (left, ceil(seconds)))
    tightest = [(decided[1], place) for place, decided in enumerate(decisions)]
    tightest.sort()
    policies: list[bytes] = []
    states: list[bytes] = []
    for left, place in tightest:
        own = rules[place].fields
        policies.append(own.policy)
        states.append(own.state % (left, ceil(decisions[place][2])))
    return (b"ratelimit-policy", b", ".join(policies)), (b"ratelimit", b", ".join(states))


def legacy_fields(rules: Sequence[HasFields], decisions: Sequence[Decided]) -> tuple[Field, ...]:
    """Render the legacy fields for the tightest of the rules that applied."""
    rule, (_, remaining, reset, _) = min(
        zip(rules, decisions, strict=True), key=lambda pair: pair[1][1]
    )
    return (
        rule.fields.limit_field,
        (b"x-ratelimit-remaining", b"%d" % remaining),
        (b"x-ratelimit-reset", b"%d" % ceil(time() + reset)),
    )


def joined(fields: Iterable[Field]) -> tuple[Field, ...]:
    """Join the lists of rules that stand in several fields of a name into one for each."""
    lists: dict[bytes, bytes] = {}
    others: list[Field] = []
    for name, value in fields:
        if name not in _LISTS:
            others.append((name, value))
        else:
            lists[name] = lists[name] + b", " + value if name in lists else value
    return (*others, *lists.items())
