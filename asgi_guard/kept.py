"""A response that is kept back for a moment: an error may follow that changes it."""

import asyncio

from asgi_guard._asgi import Message, Send

_PATIENCE = 0.1  # seconds; a framework raises right after its 500, an app may go on for minutes


class KeptResponse:
    """A bare response, from its start to the decision whether it is sent.

    It is sent when it turns out to have more than one body, when it has been complete for a tenth
    of a second and no error came, or when `release()` says so.

    Args:
        deliver: Sends a message.
    """

    def __init__(self, deliver: Send) -> None:
        self._deliver = deliver
        self._messages: list[Message] = []
        self._timer: asyncio.TimerHandle | None = None
        self._late: asyncio.Task[None] | None = None
        self.holds: bool = True

    async def add(self, message: Message) -> None:
        """Keep a message."""
        self._messages.append(message)
        kind = message["type"]
        if kind == "http.response.body" and not message.get("more_body", False):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_PATIENCE, self._release_late)
        elif kind != "http.response.start":
            await self.release()  # it goes on, so it is the app's own answer

    async def release(self) -> None:
        """Send what is kept; it has been sent when this returns."""
        if self._late is not None:
            await self._late
        else:
            self._stop_waiting()
            await self._deliver_all()

    def discard(self) -> None:
        """Drop what is kept."""
        self._stop_waiting()
        self._messages.clear()
        self.holds = False

    def _release_late(self) -> None:
        self._late = asyncio.get_running_loop().create_task(self._deliver_all())

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def _deliver_all(self) -> None:
        self.holds = False
        messages, self._messages = self._messages, []
        for message in messages:
            await self._deliver(message)
