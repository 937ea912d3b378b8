"""Refusals: from a guard's no to ASGI messages.

Bodies are problem details (RFC 9457). A refused websocket gets the same answer where the server
offers the denial response of the ASGI specification, and a close before the accept elsewhere,
which servers turn into 403.
"""

import json
import math
from collections.abc import Awaitable, Mapping, Sequence
from uuid import uuid4

from asgi_guard._asgi import Message, Receive, Scope, Send
from asgi_guard._checks import CENTURY
from asgi_guard.exchange import Exchange

PROBLEM_TYPES = "https://iana.org/assignments/http-problem-types#"
"""Where draft-ietf-httpapi-ratelimit-headers registers its problem types."""

_SECONDS = uuid4().hex  # stands for the number in a body that is rendered already
_TRY_AGAIN_LATER = 1013  # RFC 6455 registry of close codes

HeaderFields = Sequence[tuple[bytes, bytes]]


class Refusal:
    """One answer that a guard gives instead of the app's: rendered once, sent many times.

    Args:
        status: The HTTP status code.
        title: The problem's title; the status code's reason phrase.
        kind: The last part of the problem's type, or None for `about:blank`.
        detail: One sentence for whoever reads the body.
        members: Further members of the body.

    Attributes:
        status: The HTTP status code.
        detail: That sentence.
        members: Those members.
    """

    __slots__ = ("_body", "_body_with_wait", "detail", "members", "status")

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        kind: str | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        self.status: int = status
        self.detail: str = detail
        self.members: Mapping[str, object] = members or {}
        problem: dict[str, object] = {
            "type": "about:blank" if kind is None else PROBLEM_TYPES + kind,
            "title": title,
            "status": status,
            "detail": detail,
            **self.members,
        }
        self._body = json.dumps(problem).encode()
        problem["detail"] = f"{detail} Retry in {_SECONDS} s."
        with_wait = json.dumps(problem).encode().replace(b"%", b"%%")
        self._body_with_wait = with_wait.replace(_SECONDS.encode(), b"%d")

    def refuse(
        self, exchange: Exchange, retry_after: float | None, fields: HeaderFields = ()
    ) -> Awaitable[bool]:
        """Refuse a request, as its exchange does that; see `answer`."""
        return exchange.refuse(self, retry_after, fields)

    async def answer(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        retry_after: float | None,
        fields: HeaderFields = (),
    ) -> bool:
        """Send the refusal to the client of this request.

        Args:
            scope: The scope of the refused request.
            receive: The server's `receive`.
            send: The server's `send`.
            retry_after: Seconds, rounded up to at least one whole second for `Retry-After`;
                None leaves the field out.
            fields: Further header fields.

        Returns:
            False: the request is not admitted.
        """
        if retry_after is None:
            body = self._body
            headers = [*_head(body), *fields]
        else:
            seconds = whole_seconds(retry_after)
            body = self._body_with_wait % seconds
            headers = [*_head(body), (b"retry-after", b"%d" % seconds), *fields]
        if scope["type"] == "websocket":
            await self._answer_socket(scope, receive, send, headers, body)
            return False
        if scope["method"] == "HEAD":
            body = b""
        await send(
            {"type": "http.response.start", "status": self.status, "headers": headers},
        )
        await send({"type": "http.response.body", "body": body})
        return False

    async def _answer_socket(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
    ) -> None:
        if (await receive())["type"] != "websocket.connect":
            return
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
            return
        start: Message = {
            "type": "websocket.http.response.start",
            "status": self.status,
            "headers": headers,
        }
        await send(start)
        await send({"type": "websocket.http.response.body", "body": body})


def whole_seconds(duration: float) -> int:
    """Round a wait up to whole seconds, at least one: coming back sooner would be in vain.

    What is no number, or longer than a century, is a century: an error may say anything.
    """
    return max(1, math.ceil(duration)) if duration < CENTURY else CENTURY


def _head(body: bytes) -> HeaderFields:
    return (
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    )
