"""A response that is kept back for a moment: an error may follow that changes it."""

import asyncio

from asgi_guard._asgi import Message, Send

# A framework raises right after its 500, and a middleware between passes the error on within a few
# turns of the event loop, or after some work of its own. The turns are for a loop that is late.
_PATIENCE = 0.05  # seconds
_TURNS = 20
_BARE = ("http.response.start", "http.response.body")
_END_IN_PIECES = len(_BARE)


class KeptResponse:
    """A bare response, from its start to the decision whether it is sent.

    It is sent when it turns out to have more than one chunk, when it has been there for a twentieth
    of a second and no error came, or when `release()` says so.

    Args:
        deliver: Begins to send a message at once; while `holds` is set, what it gets comes here.
    """

    def __init__(self, deliver: Send) -> None:
        self._deliver = deliver
        self._messages: list[Message] = []
        self._in_order = asyncio.Lock()
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self._wait, _TURNS)
        self._late: asyncio.Task[None] | None = None
        self._error: Exception | None = None
        self.holds: bool = True

    async def add(self, message: Message) -> None:
        """Keep a message."""
        is_bare = self._stays_bare(message)
        copy = {**message}  # an app may use its own again
        if "headers" in copy:
            copy["headers"] = list(copy["headers"])
        self._messages.append(copy)
        if not is_bare:
            await self.release()  # it goes on, so it is the app's own answer

    def _stays_bare(self, message: Message) -> bool:
        kind, kept = message["type"], len(self._messages)
        if kept < _END_IN_PIECES:
            return bool(kind == _BARE[kept])
        # Starlette's base class for middleware sends a body, and then an empty one.
        return kind == "http.response.body" and kept == _END_IN_PIECES and not message.get("body")

    async def release(self) -> None:
        """Send what is kept; it has been sent when this returns.

        Raises:
            Exception: What the server raised, now or when it was sent late.
        """
        async with self._in_order:
            try:
                while self._messages:
                    self.holds = False  # for this one message
                    delivered = self._deliver(self._messages.pop(0))
                    self.holds = True
                    await delivered
            finally:
                self._stop()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def discard(self) -> None:
        """Drop what is kept."""
        self._stop()
        if self._late is not None:
            self._late.cancel()

    def _stop(self) -> None:
        self._timer.cancel()
        self._messages.clear()
        self.holds = False

    def _wait(self, turns: int) -> None:
        if not self.holds:
            return
        loop = asyncio.get_running_loop()
        if turns:
            loop.call_soon(self._wait, turns - 1)
        else:
            self._late = loop.create_task(self._release_late())

    async def _release_late(self) -> None:
        try:
            await self.release()
        except Exception as error:  # noqa: BLE001 - it is raised where the request is handled
            self._error = error
