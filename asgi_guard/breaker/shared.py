"""Breakers that several processes share, and the thread that speaks for them."""

import asyncio
import logging
import threading
from collections import deque
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING
from weakref import WeakSet

from asgi_guard._checks import check_name
from asgi_guard.breaker.core import Core
from asgi_guard.breaker.share import Note, Share
from asgi_guard.breaker.shared_machine import SharedMachine
from asgi_guard.breaker.speaker import Speaker
from asgi_guard.errors import ConfigurationError, Withheld

if TYPE_CHECKING:
    from asgi_guard.breaker.redis import Meeting, Message

_URLS = (
    "redis://, rediss:// or unix:// as redis-py reads them, redis+cluster:// or rediss+cluster:// "
    "with one node of a cluster, redis+sentinel://host:port,host:port/service"
)
_MOST_NOTES = 4096
_FIRST_WAIT = 0.1  # seconds before it connects again
_LAST_WAIT = 1.0
_HEARD = frozenset({"open", "close", "trial"})
_log = logging.getLogger("asgi_guard.breaker")


class SharedBreakers:
    """Lets breakers of one name in several processes open together, and one of them try.

    Three things are shared, and none of them by a call: for how long a breaker that has tripped is
    open, which process makes the trials, and that it has recovered. A thread, started when a
    breaker is first used, listens and speaks to Redis; calls only see what is known here. While
    Redis does not answer, each process goes by what it sees itself. Closed breakers say nothing.

    `CircuitBreaker(shared="redis://...")` makes one for each URL.

    Args:
        url: Where Redis or Valkey is: `redis://`, `rediss://` or `unix://`, as redis-py reads them;
            `redis+cluster://` with a node of a cluster; `redis+sentinel://host:port,host:port/name`
            with the name of the service.
        prefix: What the names of its keys begin with: printable ASCII without braces; default
            `asgi_guard`.

    Raises:
        ConfigurationError: The URL or the prefix is wrong, or redis-py is not installed.
    """

    def __init__(self, url: str, *, prefix: str = "asgi_guard") -> None:
        check_name("SharedBreakers.prefix", prefix)
        if "{" in prefix or "}" in prefix:
            raise ConfigurationError("SharedBreakers.prefix", prefix, "a name without braces")
        self._url = url
        self._prefix = prefix
        self._meet()
        self._shares: WeakSet[Share] = WeakSet()
        self._notes: deque[Note] = deque(maxlen=_MOST_NOTES)
        self._lock = threading.Lock()
        self._is_closed = False
        self._speaker: Speaker | None = None
        self._is_connected = False
        self._was_out = False
        self._was_puzzled = False

    @staticmethod
    def at(url: str) -> "SharedBreakers":
        """Return the one that all breakers with this URL have."""
        with _lock:
            known = _known.get(url)
            if known is None:
                known = _known[url] = SharedBreakers(url)
            return known

    def close(self) -> None:
        """End the thread, and wait for that; from now on each breaker goes by what it sees."""
        with self._lock:
            self._is_closed = True
            speaker, self._speaker = self._speaker, None
        if speaker is not None:
            speaker.stop()

    def join(self, core: Core, machine: SharedMachine, most: int, lease: float) -> Share:
        """Return the part of one breaker.

        Args:
            core: The core of the breaker.
            machine: Its machine.
            most: Trials at once.
            lease: Seconds that a trial may take.
        """
        share = Share(core, machine, most, lease, self._post)
        with self._lock:
            self._shares.add(share)
            is_connected = self._is_connected
        core.first_uses += (self.begin,)
        if is_connected:
            share.connect(is_connected=True)
        return share

    def begin(self) -> None:
        """Start the thread, unless it runs."""
        with self._lock:
            if self._speaker is None and not self._is_closed:
                self._speaker = Speaker(self._serve, "asgi_guard-shared-breakers")

    async def _serve(self, ready: asyncio.Event) -> None:
        wait, meeting = _FIRST_WAIT, self._meet()
        while True:
            try:
                # Either of them fails: then both begin anew, and look up what was missed.
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._listen(meeting))
                    both.create_task(self._speak(meeting, ready))
            except* Exception as errors:  # noqa: BLE001 - whatever it is, nobody is heard
                if not self._was_out:
                    kinds = sorted({type(each).__name__ for each in errors.exceptions})
                    _log.warning("shared breakers: Redis is out: %s", ", ".join(kinds))
                self._was_out = True
            finally:
                wait = _FIRST_WAIT if self._is_connected else min(2 * wait, _LAST_WAIT)
                self._connect(is_connected=False)
                with suppress(Exception):  # of closing what is lost
                    await meeting.aclose()
            await asyncio.sleep(wait)

    async def _listen(self, meeting: "Meeting") -> None:
        async with aclosing(meeting.messages()) as messages:
            async for message in messages:
                if message is None:
                    if self._was_out:
                        _log.warning("shared breakers: Redis is back")
                    self._was_out = False
                    self._connect(is_connected=True)
                else:
                    self._hear(message)

    async def _speak(self, meeting: "Meeting", ready: asyncio.Event) -> None:
        while True:
            await ready.wait()
            ready.clear()
            while self._notes:
                note = self._notes.popleft()
                if self._is_connected:  # or else: what still holds when it is will be told then
                    await self._say(meeting, note)

    async def _say(self, meeting: "Meeting", note: Note) -> None:
        seconds = note.left if note.word == "open" else note.seconds
        if note.word == "open" and seconds <= 0:
            return
        answer = await meeting.say(note.word, note.share.name, seconds)
        if note.word == "ask":
            note.share.learn_answer(note, answer)
        elif note.word == "look":
            if answer:
                note.share.learn_open(answer)
            note.share.retell()

    def _hear(self, message: "Message") -> None:
        if message.word not in _HEARD:
            if not self._was_puzzled:
                _log.warning("shared breakers: what is not understood on their channel is ignored")
            self._was_puzzled = True
            return
        for share in self._all():
            if share.name != message.name:
                continue
            if message.word == "open":
                share.learn_open(message.seconds)
            elif message.word == "close":
                share.learn_closed()
            elif message.word == "trial":
                share.learn_trial(message.seconds)

    def _connect(self, *, is_connected: bool) -> None:
        with self._lock:
            self._is_connected = is_connected
        for share in self._all():
            share.connect(is_connected=is_connected)

    def _all(self) -> list[Share]:
        with self._lock:
            return list(self._shares)

    def _post(self, note: Note) -> None:
        self._notes.append(note)
        speaker = self._speaker
        if speaker is not None:
            speaker.wake()

    def _meet(self) -> "Meeting":
        try:
            from asgi_guard.breaker.redis import Meeting  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "CircuitBreaker.shared", None, "None, until `pip install asgi-guard[redis]`"
            ) from error
        try:
            return Meeting(self._url, self._prefix)
        except (ValueError, TypeError, AttributeError):
            # Without its cause, which may quote it.
            raise ConfigurationError("CircuitBreaker.shared", Withheld(self._url), _URLS) from None


_lock = threading.Lock()
_known: dict[str, SharedBreakers] = {}
