"""The thread that speaks for breakers."""

import asyncio
import threading
import time

from asgi_guard.breaker.speaker import Speaker


def test_it_is_woken_and_stopped() -> None:
    """From other threads; and what comes later is for nobody."""
    woken = threading.Event()

    async def serve(ready: asyncio.Event) -> None:
        await ready.wait()
        woken.set()
        await asyncio.sleep(60)

    before = threading.active_count()
    speaker = Speaker(serve, "test")
    assert not woken.wait(0.05)
    speaker.wake()
    assert woken.wait(5)
    speaker.stop()
    assert threading.active_count() == before
    speaker.wake()
    speaker.stop()


def test_a_cancellation_that_is_lost_is_repeated() -> None:
    """Task groups lose one that comes when a task of theirs has just failed."""
    cancelled = 0

    async def serve(ready: asyncio.Event) -> None:
        nonlocal cancelled
        while cancelled < 3:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled += 1

    speaker = Speaker(serve, "test")
    time.sleep(0.05)
    began = time.monotonic()
    speaker.stop()
    assert time.monotonic() - began < 1.0
    assert cancelled == 3
