"""A connection to one Redis server that asks the script and does nothing else.

A client makes and authenticates it as it makes its own; then this takes it over. What a client does
for each command, for any kind of command and answer, costs more than the decision on the server.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from asgi_guard.rate_limit.stores.conversation import Conversation, Question
from asgi_guard.rate_limit.stores.redis_script import SCRIPT, SHA, arguments

_PARTING = 1.0  # seconds for a connection to be closed
_KNOWN = b"$7\r\nEVALSHA\r\n$%d\r\n%b" % (len(SHA), SHA.encode())
_UNKNOWN = b"$4\r\nEVAL\r\n$%d\r\n%b" % (len(SCRIPT.encode()), SCRIPT.encode())


class Wire(asyncio.Protocol):
    """A connection that was taken over.

    Args:
        told: Who is told what comes back.
        writer: The stream of the connection, kept for as long as its transport is used.
    """

    most: ClassVar[int] = 2

    def __init__(self, told: Conversation, writer: Any) -> None:
        self.has_answered: bool = False
        self._told = told
        self._writer = writer
        self._transport: asyncio.Transport = writer.transport
        self._closed = asyncio.get_running_loop().create_future()
        self._rest = b""
        self._transport.set_protocol(self)

    def say(self, questions: Sequence[Question], *, again: bool = False) -> None:
        """Send questions as one command; with the script where the server did not know it."""
        keys, numbers = arguments(questions)
        count = b"%d" % len(keys)
        self._transport.write(
            b"*%d\r\n%b\r\n$%d\r\n%b\r\n%b$%d\r\n%b\r\n"
            % (
                len(keys) + 4,
                _UNKNOWN if again else _KNOWN,
                len(count),
                count,
                b"".join(keys),
                len(numbers),
                numbers,
            )
        )

    def drop(self) -> None:
        """Close the connection."""
        self._transport.abort()

    async def aclose(self) -> None:
        """Wait until it is closed."""
        await asyncio.wait([self._closed], timeout=_PARTING)

    def data_received(self, data: bytes) -> None:
        """Read whole answers, and keep the rest."""
        if self._rest:
            data = self._rest + data
        at = 0
        try:
            while at < len(data):
                end = end_of_value(data, at)
                if not end:
                    break
                self._read(data[at:end])
                at = end
        except ValueError as error:
            self._told.failed(self, error)
        self._rest = data[at:]

    def connection_lost(self, error: Exception | None) -> None:
        """Say so."""
        if not self._closed.done():
            self._closed.set_result(None)
        self._told.lost(self, error or ConnectionError("the server has closed the connection"))

    def _read(self, value: bytes) -> None:
        if value.startswith(b"$"):
            self.has_answered = True
            self._told.answered(self, list(map(int, value.split()[1:])))
        elif value.startswith(b"-NOSCRIPT"):
            self._told.unknown(self)
        elif not value.startswith(b">"):  # which nobody has asked for
            raise ValueError(value[:200].decode("utf-8", "replace").strip())


def end_of_value(data: bytes, at: int) -> int:
    """Return where a value of RESP ends that begins there; 0 where there is more to come.

    Raises:
        ValueError: It is none.
    """
    line = data.find(b"\r\n", at)
    if line < 0:
        return 0
    kind, end = data[at : at + 1], line + 2
    if kind in b"+-:,#_(":
        return end
    size = int(data[at + 1 : line])
    if kind in b"$=!":
        end += max(size + 2, 0) if size >= 0 else 0
        return end if end <= len(data) else 0
    if kind not in b"*~>%":
        raise ValueError(f"no value of RESP begins with {kind!r}")
    for _ in range(2 * size if kind == b"%" else size):
        end = end_of_value(data, end)
        if not end:
            return 0
    return end
