"""A response that is kept back for a moment: an error may follow that changes it."""

import asyncio

from asgi_guard._asgi import Message, Send

# Turns of the event loop, which pass in less than a millisecond if nothing else is to be done. A
# framework raises right after its 500, and a middleware between passes the error on within a few.
_PATIENCE = 20


class KeptResponse:
    """A bare response, from its start to the decision whether it is sent.

    It is sent when it turns out to have more than one body, when it has been complete for twenty
    turns of the event loop and no error came, or when `release()` says so.

    Args:
        deliver: Begins to send a message at once; while `holds` is set, what it gets comes here.
    """

    def __init__(self, deliver: Send) -> None:
        self._deliver = deliver
        self._messages: list[Message] = []
        self._in_order = asyncio.Lock()
        self._turns = 0
        self._late: asyncio.Task[None] | None = None
        self.holds: bool = True

    async def add(self, message: Message) -> None:
        """Keep a message."""
        self._messages.append({**message})  # an app may use its own again
        kind = message["type"]
        if kind == "http.response.body" and not message.get("more_body", False):
            asyncio.get_running_loop().call_soon(self._wait)
        elif kind != "http.response.start":
            await self.release()  # it goes on, so it is the app's own answer

    async def release(self) -> None:
        """Send what is kept; it has been sent when this returns."""
        async with self._in_order:
            while self._messages:
                self.holds = False  # for this one message
                delivered = self._deliver(self._messages.pop(0))
                self.holds = True
                await delivered
            self.holds = False

    def discard(self) -> None:
        """Drop what is kept."""
        self._messages.clear()
        self.holds = False

    def _wait(self) -> None:
        if not self.holds:
            return
        self._turns += 1
        loop = asyncio.get_running_loop()
        if self._turns < _PATIENCE:
            loop.call_soon(self._wait)
        else:
            self._late = loop.create_task(self.release())
