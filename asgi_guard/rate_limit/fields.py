"""The `RateLimit` header fields of draft-ietf-httpapi-ratelimit-headers-11.

Both are lists of RFC 9651: strings (the names of policies) with parameters.
"""

from collections.abc import Sequence
from math import ceil

from asgi_guard.rate_limit.algorithms import advertised_window
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.quota import Quota

Field = tuple[bytes, bytes]


class PolicyFields:
    """Renders one rule's members of the two fields; what never changes is rendered once."""

    __slots__ = ("_state", "policy")

    def __init__(self, name: str, quota: Quota) -> None:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"').encode("ascii")
        self.policy: bytes = b'"%s";q=%d;w=%d' % (quoted, quota.count, advertised_window(quota))
        self._state = b'"%s";r=%%d;t=%%d' % quoted.replace(b"%", b"%%")

    def state(self, decision: Decision) -> bytes:
        """Render what is left, and the whole seconds until there is more."""
        return self._state % (decision.remaining, ceil(decision.reset))


def render_fields(
    policies: Sequence[PolicyFields], decisions: Sequence[Decision]
) -> tuple[Field, Field]:
    """Render both fields for the rules that applied to a request, the tightest first."""
    if len(policies) == 1:
        policy, state = policies[0].policy, policies[0].state(decisions[0])
    else:
        tightest = sorted(zip(policies, decisions, strict=True), key=lambda pair: pair[1].remaining)
        policy = b", ".join(policy.policy for policy, _ in tightest)
        state = b", ".join(policy.state(decision) for policy, decision in tightest)
    return (b"ratelimit-policy", policy), (b"ratelimit", state)
