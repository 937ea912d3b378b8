"""Refusing: how a request over quota is answered, by the settings of one guard."""

import random
from typing import TYPE_CHECKING

from asgi_guard.exchange import Exchange
from asgi_guard.keys import client_ip
from asgi_guard.rate_limit.advice import Advice
from asgi_guard.rate_limit.answer import answer_by
from asgi_guard.rate_limit.fields import Field
from asgi_guard.refusal import Refusal
from asgi_guard.shell import Admission

if TYPE_CHECKING:
    from asgi_guard.rate_limit.guard import RateLimit


class Refusing:
    """What refuses requests over quota.

    Args:
        settings: The limit.
        counts_here: Whether counters are in this process.
    """

    def __init__(self, settings: "RateLimit", *, counts_here: bool) -> None:
        self._jitter = settings.jitter
        self._answer = settings.answer
        self._advice = Advice(
            keyed_by_address=any(rule.key is client_ip for rule in settings.rules),
            counts_here=counts_here,
        )

    def refuse(
        self, exchange: Exchange, refusal: Refusal, wait: float | None, fields: tuple[Field, ...]
    ) -> Admission:
        """Refuse a request.

        Args:
            exchange: The request.
            refusal: Which rules refuse it.
            wait: Seconds after which all would admit it; None for never.
            fields: What the answer tells of them.
        """
        self._advice.look(exchange.scope)
        if wait is not None and self._jitter:
            wait *= 1 + random.uniform(0, self._jitter)  # noqa: S311 - it only spreads clients
        if self._answer is not None and exchange.scope["type"] == "http":
            return answer_by(self._answer, exchange, refusal, wait, fields)
        return refusal.refuse(exchange, wait, fields)
