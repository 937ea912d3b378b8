"""The concurrency cap as a guard."""

from asyncio import get_running_loop
from collections.abc import Set as AbstractSet
from dataclasses import KW_ONLY, dataclass

from asgi_guard._asgi import ASGIApp
from asgi_guard._checks import check_count, check_name, check_seconds
from asgi_guard.concurrency.permits import Ledger, Permits, PermitsSnapshot
from asgi_guard.errors import ConcurrencyExceeded
from asgi_guard.exchange import Exchange
from asgi_guard.matching import check_methods, compile_matcher
from asgi_guard.refusal import Refusal
from asgi_guard.shell import Admission, Layer, Shell


@dataclass(frozen=True, slots=True)
class ConcurrencyLimit:
    """Caps the requests inside the app at once; some wait for a moment, the rest get 503.

    A permit is held from admission until the last byte of the response has been sent, or until
    the app ends without one. Background tasks run after that and hold none. Websockets pass: they
    live too long to be counted with requests.

    What a refused client sees: 503 with problem details (RFC 9457) and `Retry-After`.

    Args:
        limit: Requests at once, a whole number from 1 up, or `Permits` to share, which bring their
            own queue.
        name: What metrics call it: printable ASCII; default: `requests`.
        path: A pattern such as `/reports/*`; default: every path.
        methods: Method names such as `{"POST"}`; default: every method.
        max_waiting: Requests that may wait, from 0 (nobody waits) up; default 100.
        max_wait: Seconds a request may wait, from 0 up; default 0.5.

    Raises:
        ConfigurationError: A field is wrong; the message says which, and what is allowed.
    """

    limit: int | Permits
    _: KW_ONLY
    name: str | None = None
    path: str | None = None
    methods: AbstractSet[str] | None = None
    max_waiting: int = 100
    max_wait: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what is no concurrency cap."""
        if not isinstance(self.limit, Permits):
            check_count("ConcurrencyLimit.limit", self.limit)
        check_name("ConcurrencyLimit.name", self.label)
        check_count("ConcurrencyLimit.max_waiting", self.max_waiting, least=0)
        check_seconds("ConcurrencyLimit.max_wait", self.max_wait, zero=True)
        if self.methods is not None:
            methods = check_methods("ConcurrencyLimit.methods", self.methods)
            object.__setattr__(self, "methods", methods)
        compile_matcher("ConcurrencyLimit", self.path, self.methods)

    @property
    def label(self) -> str:
        """What the cap is called."""
        return "requests" if self.name is None else self.name

    def __call__(self, app: ASGIApp) -> Shell:
        """Wrap an ASGI app."""
        return Shell(self, app, [ConcurrencyLayer(self)])


class ConcurrencyLayer(Layer):
    """A `ConcurrencyLimit` round one app.

    Args:
        settings: The cap.
        permits: Permits to go on with, if it brings none of its own; default None: new ones.

    Attributes:
        name: What the cap is called.
        permits: Its permits.
        owns_permits: Whether they are its own, and not given by the user.
    """

    def __init__(self, settings: ConcurrencyLimit, permits: Permits | None = None) -> None:
        self.name: str = settings.label
        self._settings = settings
        self._matches = compile_matcher("ConcurrencyLimit", settings.path, settings.methods)
        limit = settings.limit
        self.owns_permits: bool = not isinstance(limit, Permits)
        if isinstance(limit, Permits):
            self.permits: Permits = limit
        else:
            self.permits = permits or Permits(
                limit, max_waiting=settings.max_waiting, max_wait=settings.max_wait
            )

    def fit_permits(self) -> None:
        """Give permits that were there before the limit and the queue of this cap."""
        settings = self._settings
        if not isinstance(settings.limit, Permits):
            self.permits.max_waiting = settings.max_waiting
            self.permits.max_wait = settings.max_wait
            self.permits.resize(settings.limit)

    def snapshot(self) -> PermitsSnapshot:
        """Return the state of the permits."""
        return self.permits.snapshot()

    def admit(self, exchange: Exchange) -> Admission:
        """Take a permit for the request, or let it wait for one."""
        if not (self._matches is None or self._matches(exchange.scope)):
            return None
        loop, ledger = self.permits.last
        if loop is not get_running_loop():
            ledger = self.permits.ledger()
        if ledger.held >= ledger.limit:
            return self._wait(exchange, ledger)
        ledger.held += 1
        exchange.after_last += ledger.giving_back
        return None

    async def _wait(self, exchange: Exchange, ledger: Ledger) -> bool:
        try:
            await self.permits.wait(ledger)
        except ConcurrencyExceeded as refused:
            return await _OVERLOADED.refuse(exchange, refused.retry_after)
        exchange.after_last += ledger.giving_back
        return True


_OVERLOADED = Refusal(
    503,
    "Service Unavailable",
    "The server is at its limit of requests at once.",
    kind="temporary-reduced-capacity",
)
