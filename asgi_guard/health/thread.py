"""Running a function that blocks."""

import asyncio
import contextlib
import threading
from collections.abc import Callable


async def in_thread(function: Callable[[], object]) -> object:
    """Run a function in a thread of its own, and return what it returned.

    No pool is used up by functions that hang, and none keeps the process from ending: the thread is
    a daemon, and if nobody waits any longer its result is dropped.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[object] = loop.create_future()

    def settle(result: object, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)

    def run() -> None:
        result, raised = None, None
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            raised = error
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(settle, result, raised)

    threading.Thread(target=run, name="asgi_guard check", daemon=True).start()
    return await answer
