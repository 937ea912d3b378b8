"""Running a function that blocks."""

import asyncio
import contextlib
import threading
from collections.abc import Callable


async def in_thread(function: Callable[[], object]) -> object:
    """Run a function in a thread of its own; return what it returned, or raise what it raised.

    No pool is used up by functions that hang, and none keeps the process from ending: the thread is
    a daemon, and if nobody waits any longer its result is dropped.
    """
    loop = asyncio.get_running_loop()
    # An outcome, not the error itself: a future cannot hold each error, and the loop would act on
    # some of them.
    outcome: asyncio.Future[tuple[object, BaseException | None]] = loop.create_future()

    def settle(result: object, error: BaseException | None) -> None:
        if not outcome.done():
            outcome.set_result((result, error))

    def run() -> None:
        result, raised = None, None
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            raised = error
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(settle, result, raised)

    threading.Thread(target=run, name="asgi_guard check", daemon=True).start()
    result, error = await outcome
    if error is not None:
        raise error
    return result
