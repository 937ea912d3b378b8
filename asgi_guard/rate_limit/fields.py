"""The `RateLimit` header fields of draft-ietf-httpapi-ratelimit-headers-11.

Both are lists of RFC 9651: strings (the names of policies) with parameters.
"""

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Protocol

from asgi_guard.rate_limit.decision import Decided
from asgi_guard.rate_limit.quota import Quota

Field = tuple[bytes, bytes]
_LISTS = (b"ratelimit-policy", b"ratelimit")


class RuleFields:
    """One rule's members of the two fields: all that never changes, rendered once.

    `state` waits for what remains, and for the whole seconds until there is more.
    """

    __slots__ = ("policy", "policy_field", "state")

    def __init__(self, name: str, quota: Quota) -> None:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"').encode("ascii")
        # A bucket is told as what it holds, and the time in which it fills: the rate is the same.
        window = max(1, ceil(quota.period * quota.capacity / quota.count))
        self.policy: bytes = b'"%s";q=%d;w=%d' % (quoted, quota.capacity, window)
        self.state: bytes = b'"%s";r=%%d;t=%%d' % quoted.replace(b"%", b"%%")
        self.policy_field: Field = (b"ratelimit-policy", self.policy)


class HasFields(Protocol):
    """A rule, as far as its fields are concerned."""

    @property
    def fields(self) -> RuleFields:
        """Its members of the two fields."""
        ...


def render_fields(rules: Sequence[HasFields], decisions: Sequence[Decided]) -> tuple[Field, Field]:
    """Render both fields for the rules that applied to a request, the tightest first."""
    tightest = sorted(zip(rules, decisions, strict=True), key=lambda pair: pair[1][1])
    policy = b", ".join(rule.fields.policy for rule, _ in tightest)
    state = b", ".join(
        rule.fields.state % (remaining, ceil(reset)) for rule, (_, remaining, reset, _) in tightest
    )
    return (b"ratelimit-policy", policy), (b"ratelimit", state)


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
