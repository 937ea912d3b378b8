"""What the ops endpoints have in common: they are read, by those who may."""

from starlette.responses import PlainTextResponse

from asgi_guard._asgi import Receive, Scope, Send
from asgi_guard.refusal import Refusal

_READS = frozenset({"GET", "HEAD"})
_FORBIDDEN = Refusal(403, "Forbidden", "This endpoint is not for this client.")


def is_read(scope: Scope) -> bool:
    """Tell whether the request only wants to read."""
    return scope["method"] in _READS


async def answer_method(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer that the endpoint can only be read."""
    headers = {"allow": "GET, HEAD", "cache-control": "no-store"}
    await PlainTextResponse("Method Not Allowed", 405, headers)(scope, receive, send)


async def answer_forbidden(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer that this client may not read the endpoint."""
    await _FORBIDDEN.answer(scope, receive, send, None)
