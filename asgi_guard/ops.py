"""Ops endpoints: answered outside every limit, to those who may read them."""

from collections.abc import Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import TypeAlias

from starlette.responses import PlainTextResponse

from asgi_guard._asgi import Receive, Scope, Send
from asgi_guard.exchange import Exchange
from asgi_guard.matching import app_path, spellings
from asgi_guard.refusal import Refusal
from asgi_guard.shell import Admission, Layer

Answer: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""What answers a request to read an endpoint."""

_READS = frozenset({"GET", "HEAD"})
_FORBIDDEN = Refusal(403, "Forbidden", "This endpoint is not for this client.")


class Endpoints(Layer):
    """The ops endpoints of one stack: one look at the path for all of them.

    Args:
        answers: What answers, by path below `root_path`.

    Attributes:
        paths: Their paths, in all spellings.
    """

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self._answers = dict(answers)
        self.paths: AbstractSet[str] = spellings(answers)

    def admit(self, exchange: Exchange) -> Admission:
        """Answer a request for one of the endpoints, and admit every other."""
        answer = self._answers.get(app_path(exchange.scope))
        return None if answer is None else self._answer(answer, exchange)

    async def _answer(self, answer: Answer, exchange: Exchange) -> bool:
        if exchange.scope["method"] not in _READS:
            headers = {"allow": "GET, HEAD", "cache-control": "no-store"}
            answer = PlainTextResponse("Method Not Allowed", 405, headers)
        await answer(exchange.scope, exchange.receive, exchange.send)
        return False


async def answer_forbidden(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer that this client may not read the endpoint."""
    await _FORBIDDEN.answer(scope, receive, send, None)
