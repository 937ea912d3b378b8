"""A TCP proxy on the loopback that delays, swallows, resets and refuses when it is told to."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from anyio.from_thread import BlockingPortal, start_blocking_portal

from tests.processes import HOST

_CHUNK = 65536  # bytes
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # linger, and for no time at all


class FaultProxy:
    """An async context manager that passes connections on, in the loop it is entered in.

    Clients may run in that loop, too. Where they block it or live elsewhere, use `proxy_in_thread`.
    What a method is called after has happened when it returns.

    Args:
        upstream: The loopback port of the server.

    Attributes:
        port: Where it listens; the same one after `refuse` and `start`.
        latency: Seconds that bytes are late, each way.
    """

    def __init__(self, upstream: int) -> None:
        self.port = 0
        self.latency = 0.0
        self._upstream = upstream
        self._passing = asyncio.Event()
        self._passing.set()
        self._listening: asyncio.Server | None = None
        self._links: dict[asyncio.Task[Any], list[asyncio.StreamWriter]] = {}

    async def __aenter__(self) -> Self:
        """Listen."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Refuse, so that nothing is open."""
        await self.refuse()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._links)

    async def start(self) -> None:
        """Listen, unless it does."""
        if self._listening is None:
            self._listening = await asyncio.start_server(self._link, HOST, self.port)
            self.port = self._listening.sockets[0].getsockname()[1]

    def silence(self) -> None:
        """Take connections and bytes, and pass none on until `heal`."""
        self._passing.clear()

    def heal(self) -> None:
        """Pass bytes at once, those first that were kept; a proxy that refuses is to `start`."""
        self.latency = 0.0
        self._passing.set()

    async def reset(self) -> None:
        """Reset every open connection, towards both ends; new ones are taken."""
        open_ones = list(self._links)
        for task in open_ones:
            for end in self._links[task]:
                _reset(end)
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)

    async def refuse(self) -> None:
        """Reset every open connection, and refuse new ones until `start`."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        await self.reset()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if self._listening is None or task is None:  # it was taken just before `refuse`
            _reset(writer)
            return
        ends = self._links[task] = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self._upstream)
            ends.append(far_writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(reader, far_writer))
                both.create_task(self._carry(far_reader, writer))
        except* (OSError, asyncio.CancelledError):
            pass  # whatever one end did to the connection, or `reset`, both ends see
        finally:
            for end in ends:
                end.close()
            for end in ends:
                with suppress(OSError, asyncio.CancelledError):  # `reset` need not wait for it
                    await end.wait_closed()
            del self._links[task]

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK):
            await asyncio.sleep(self.latency)
            await self._passing.wait()
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()


class ThreadedProxy:
    """A `FaultProxy` in the loop of another thread, with methods that block."""

    def __init__(self, portal: BlockingPortal, proxy: FaultProxy) -> None:
        self.port = proxy.port
        self._call = portal.call
        self._proxy = proxy

    @property
    def latency(self) -> float:
        """Seconds that bytes are late, each way."""
        return self._proxy.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self._proxy.latency = seconds

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._proxy.connections

    def start(self) -> None:
        """Listen, unless it does."""
        self._call(self._proxy.start)

    def silence(self) -> None:
        """Take connections and bytes, and pass none on until `heal`."""
        self._call(self._proxy.silence)

    def heal(self) -> None:
        """Pass bytes at once, those first that were kept; a proxy that refuses is to `start`."""
        self._call(self._proxy.heal)

    def reset(self) -> None:
        """Reset every open connection, towards both ends; new ones are taken."""
        self._call(self._proxy.reset)

    def refuse(self) -> None:
        """Reset every open connection, and refuse new ones until `start`."""
        self._call(self._proxy.refuse)


@contextmanager
def proxy_in_thread(upstream: int) -> Iterator[ThreadedProxy]:
    """Run a `FaultProxy` in a thread, for clients that block or live in another process."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(FaultProxy(upstream)) as proxy,
    ):
        yield ThreadedProxy(portal, proxy)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
