"""Answers of the user's own to requests over quota."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from asgi_guard._asgi import ASGIApp, Message, Scope
from asgi_guard._checks import is_async
from asgi_guard.callback import name_of, wrong_answer
from asgi_guard.errors import QuotaExceeded
from asgi_guard.exchange import Exchange
from asgi_guard.rate_limit.fields import Field
from asgi_guard.refusal import Refusal, whole_seconds

Answer: TypeAlias = Callable[[Scope, QuotaExceeded], ASGIApp | Awaitable[ASGIApp]]
"""A function, plain or async, from scope and error to an ASGI app, such as a response."""

ANSWERS = (
    "None, or a function, plain or async, from scope and QuotaExceeded to an ASGI app, such as a "
    "response of Starlette"
)
_NO_STORE: Field = (b"cache-control", b"no-store")


def quota_error(refusal: Refusal, retry_after: float | None, more: str = "") -> QuotaExceeded:
    """Return a refusal as an error; `more` is added to what it says."""
    names: Any = refusal.members["violated-policies"]
    return QuotaExceeded(refusal.detail + more, retry_after, tuple(names))


async def answer_by(
    function: Answer,
    exchange: Exchange,
    refusal: Refusal,
    retry_after: float | None,
    fields: Sequence[Field],
) -> bool:
    """Answer a request over quota with what the user's function returns.

    Args:
        function: The function.
        exchange: The request.
        refusal: What is refused.
        retry_after: Seconds for `Retry-After`; None leaves the field out.
        fields: The fields that tell what is left.

    Returns:
        False: the request is not admitted.

    Raises:
        TypeError: The function returned what cannot be called.
    """
    returned: Any = function(exchange.scope, quota_error(refusal, retry_after))
    app = await returned if is_async(function) else returned
    if not callable(app):
        asked = f"the answer function {name_of(function)}"
        raise wrong_answer(asked, app, "an ASGI app, such as a response")
    missing = [_NO_STORE]
    if retry_after is not None:
        missing.append((b"retry-after", b"%d" % whole_seconds(retry_after)))

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            names = {name.lower() for name, _ in headers}
            added = [field for field in missing if field[0] not in names]
            message = {**message, "headers": [*headers, *added, *fields]}
        await exchange.send(message)

    await app(exchange.scope, exchange.receive, send)
    return False
