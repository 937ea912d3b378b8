"""What escapes an app: refusals that were raised inside of it become answers at its edge.

Frameworks send a bare 500 before they let an error out, and some let none out at all.
"""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple, TypeVar

from asgi_guard._asgi import Message
from asgi_guard.exchange import Exchange
from asgi_guard.refusal import Refusal

E = TypeVar("E", bound=BaseException)

_TRY_AGAIN_LATER = 1013  # RFC 6455 registry of close codes


class Refused(NamedTuple):
    """A refusal that was raised inside the app, and its answer should it escape.

    Attributes:
        error: What was raised.
        refusal: The answer.
        retry_after: Seconds after which another attempt may pass; None where nobody knows.
    """

    error: Exception
    refusal: Refusal
    retry_after: float | None


def made_of(error: BaseException, *kinds: type[E]) -> list[E]:
    """Return the errors of these kinds that an error is made of; none if it holds anything else.

    They are looked for in exception groups, and behind the `__cause__` of other errors.
    """
    found: list[E] = []
    parts, seen = [error], set[int]()
    while parts:
        part = parts.pop()
        if id(part) in seen:
            continue  # errors can share a cause, or be each other's
        seen.add(id(part))
        if isinstance(part, kinds):
            found.append(part)
        elif isinstance(part, BaseExceptionGroup):
            parts.extend(part.exceptions)
        elif part.__cause__ is not None:
            parts.append(part.__cause__)
        else:
            return []
    return found


def is_answerable(exchange: Exchange) -> bool:
    """Tell whether the client can still be told anything."""
    return not (exchange.status or exchange.closed)


async def answer_refused(exchange: Exchange, error: Exception | None) -> bool:
    """Answer for what was refused inside the app; return whether that was done.

    Args:
        exchange: The request.
        error: What the app let out; None for an app that let nothing out, and answers a bare 500.
    """
    refused: Sequence[Refused] = exchange.refused
    if not refused or not is_answerable(exchange):
        return False
    if error is not None:
        parts = made_of(error, *{type(each.error) for each in refused})
        refused = [each for each in refused if any(each.error is part for part in parts)]
        if not refused:
            return False
    longest = max(refused, key=lambda each: inf if each.retry_after is None else each.retry_after)
    await answer_instead(exchange, longest.refusal, longest.retry_after)
    return True


async def answer_instead(exchange: Exchange, refusal: Refusal, retry_after: float | None) -> None:
    """Answer in place of an app that has failed; an accepted websocket is closed with 1013."""
    if exchange.kept is not None:
        exchange.kept.discard()
    if exchange.accepted:
        await exchange.send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
        return
    if exchange.connected:
        exchange.receive = _connect
    await refusal.refuse(exchange, retry_after)


def read_along(exchange: Exchange) -> None:
    """Take note of how far a websocket has come: what it can be answered depends on it."""
    from_client = exchange.receive

    async def receive() -> Message:
        message = await from_client()
        if message["type"] == "websocket.connect":
            exchange.connected = True
        elif message["type"] == "websocket.disconnect":
            exchange.closed = True
        return message

    exchange.receive = receive


async def _connect() -> Message:
    """Stand for the first message of a websocket, which the app has read."""
    return {"type": "websocket.connect"}
