"""Exposition: the answer to a scrape, built outside the event loop."""

import asyncio
import gzip
from collections.abc import Callable
from typing import TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

Encode: TypeAlias = Callable[[CollectorRegistry], bytes]

_FASTEST = 1  # gzip level: a tenth of the time of the highest for a hundredth more bytes


class Exposition:
    """Renders a registry in a thread, once for all scrapes that ask at the same time."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._running: dict[tuple[str, bool], asyncio.Task[bytes]] = {}

    async def render(self, accept: str, *, compressed: bool) -> tuple[bytes, str]:
        """Return the body and its content type.

        Args:
            accept: The scraper's `Accept`: it chooses between text format and OpenMetrics.
            compressed: Whether the body is to be compressed with gzip.
        """
        encode, content_type = _encoder(accept)
        wanted = (content_type, compressed)
        task = self._running.get(wanted)
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            task = asyncio.create_task(asyncio.to_thread(self._render, encode, compressed))
            self._running[wanted] = task
            task.add_done_callback(lambda _: self._running.pop(wanted, None))
        # One scraper that leaves must not end it for the others.
        return await asyncio.shield(task), content_type

    def _render(self, encode: Encode, compressed: bool) -> bytes:
        body = encode(self._registry)
        return gzip.compress(body, _FASTEST) if compressed else body


def _encoder(accept: str) -> tuple[Encode, str]:
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        return choose_encoder("")


def accepts_gzip(accept_encoding: bytes) -> bool:
    """Tell whether an `Accept-Encoding` lists gzip, and not with a weight of 0 (RFC 9110)."""
    for item in accept_encoding.lower().split(b","):
        coding, _, weight = item.partition(b";")
        if coding.strip() == b"gzip":
            return weight.replace(b" ", b"").rstrip(b".0") != b"q="
    return False
