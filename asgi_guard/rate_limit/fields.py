"""The `RateLimit` header fields of draft-ietf-httpapi-ratelimit-headers-11.

Both are lists of RFC 9651: strings (the names of policies) with parameters.
"""

from collections.abc import Sequence
from math import ceil
from typing import Protocol

from asgi_guard.rate_limit.algorithms import advertised_window
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.quota import Quota

Field = tuple[bytes, bytes]


class RuleFields:
    """Renders one rule's members of the two fields; what never changes is rendered once."""

    __slots__ = ("_state", "policy")

    def __init__(self, name: str, quota: Quota) -> None:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"').encode("ascii")
        self.policy: bytes = b'"%s";q=%d;w=%d' % (quoted, quota.count, advertised_window(quota))
        self._state = b'"%s";r=%%d;t=%%d' % quoted.replace(b"%", b"%%")

    def state(self, decision: Decision) -> bytes:
        """Render what is left, and the whole seconds until there is more."""
        return self._state % (decision.remaining, ceil(decision.reset))


class HasFields(Protocol):
    """A rule, as far as its fields are concerned."""

    @property
    def fields(self) -> RuleFields:
        """Its members of the two fields."""
        ...


def render_fields(rules: Sequence[HasFields], decisions: Sequence[Decision]) -> tuple[Field, Field]:
    """Render both fields for the rules that applied to a request, the tightest first."""
    if len(rules) == 1:
        only = rules[0].fields
        policy, state = only.policy, only.state(decisions[0])
    else:
        tightest = sorted(zip(rules, decisions, strict=True), key=lambda pair: pair[1].remaining)
        policy = b", ".join(rule.fields.policy for rule, _ in tightest)
        state = b", ".join(rule.fields.state(decision) for rule, decision in tightest)
    return (b"ratelimit-policy", policy), (b"ratelimit", state)
