"""The rate limit on a function: charged where it is called, answered at the edge of the app."""

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar, overload

from asgi_guard._checks import is_async, is_name
from asgi_guard.current import running_loop
from asgi_guard.errors import ConfigurationError
from asgi_guard.keys import Key, client_ip, digest
from asgi_guard.rate_limit.fields import Fields
from asgi_guard.rate_limit.guard import RateLimit
from asgi_guard.rate_limit.place import Place
from asgi_guard.rate_limit.quota import Quota
from asgi_guard.rate_limit.rules.rule import OnStoreFailure, Rule
from asgi_guard.rate_limit.stores.opening import MEMORY_STORE, close_store, open_store
from asgi_guard.rate_limit.stores.store import Store
from asgi_guard.rate_limit.switch import Switch

P = ParamSpec("P")
R = TypeVar("R")
_ROOM = 80  # characters of a long name that are kept, beside the hash of all of it
_HASH = 12


class RateLimited:
    """Rules for functions; made by `rate_limited()`.

    Called with a function it decorates it. Called without arguments it charges the request that is
    being handled: frameworks that call dependencies, such as FastAPI, take it as one.

    Args:
        rules: The rules.
        store: Where counters live; a URL is opened once, for all functions.
        made_at: Where in the code this was made, which is the name of its dependency.
        more: Further settings of the `RateLimit`.
    """

    def __init__(
        self, rules: tuple[Rule, ...], store: str | Store, made_at: str, **more: Any
    ) -> None:
        self._rules = rules
        self._store = open_store("rate_limited.store", store)
        self._owns_store = isinstance(store, str)
        self._more = more
        self._places: list[Place] = []
        # Whoever asks what a dependency takes, and whether to await it, asks what is wrapped.
        self.__wrapped__: Callable[[], Coroutine[Any, Any, None]] = self._place(made_at).charge

    @overload
    def __call__(self) -> Awaitable[None]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...

    def __call__(self, function: Any = None) -> Any:
        """Decorate a function, sync or async; or charge the request that is being handled.

        Returns:
            The function, which is not called before the request has been charged; without one,
            what to await, or None in a thread, which has waited.

        Raises:
            ConfigurationError: It is no function, or a generator function.
            QuotaExceeded: The request is over its quota.
            RuntimeError: No request is known here.
        """
        if function is None:
            dependency = self._places[0]
            return dependency.charge() if running_loop() else dependency.charge_here()
        _check_function(function)
        place = self._place(_name_of(function))
        if is_async(function):

            @functools.wraps(function)
            async def limited(*args: Any, **kwargs: Any) -> Any:
                await place.charge()
                return await function(*args, **kwargs)

            return limited

        @functools.wraps(function)
        def limited_sync(*args: Any, **kwargs: Any) -> Any:
            place.charge_here()
            return function(*args, **kwargs)

        return limited_sync

    async def aclose(self) -> None:
        """Close what is open in this event loop; guards do so when the app shuts down."""
        for place in self._places:
            await place.aclose()
        if self._owns_store:
            await close_store(self._store, owned=True)

    def _place(self, name: str) -> Place:
        try:
            settings = RateLimit(
                *(_named(rule, name) for rule in self._rules), store=self._store, **self._more
            )
        except ConfigurationError as error:
            field = error.field.replace("RateLimit.", "rate_limited.")
            raise ConfigurationError(field, error.value, error.allowed) from None
        place = Place(name, settings, self.aclose)
        self._places.append(place)
        return place


def rate_limited(
    *rules: Rule | Quota | str,
    key: Key = client_ip,
    store: str | Store = MEMORY_STORE,
    fields: Fields = "draft-11",
    on_store_failure: OnStoreFailure = "local",
    store_timeout: float = 0.05,
    workers: int = 1,
    shadow: bool = False,
    switch: Switch | None = None,
) -> RateLimited:
    """Limit how often a client may have a function called: a decorator, and a dependency.

    The function needs no argument for it, keeps its signature, and may be sync or async. Before its
    body runs, all rules are charged or none. Over quota, `QuotaExceeded` is raised there; when it
    leaves the app, the guard round it answers 429, as `RateLimit` does. Any guard will do, but
    there has to be one: without, nobody knows of a request, and a call raises `RuntimeError`.

    Each function has counters of its own. Share them by naming a rule, and decorating several
    functions with one `rate_limited(...)`, or giving the same `store=` to several.

    Args:
        rules: Quotas such as `"5/minute"`, or rules, without path. At least one.
        key: Whom to charge by quotas that are no rules; default `client_ip`.
        store: Where counters live: `"memory://"` (the default) for a store of its own in this
            process, the URL of a Redis that all workers share, or a `Store`.
        fields: The header fields that tell clients what is left: `"draft-11"` (the default), or
            None for none.
        on_store_failure: What holds while the store gives no answer: `"local"` (the default),
            `"admit"`; or `"refuse"`, which raises `StoreUnavailable`, answered with 503.
        store_timeout: Seconds that a decision may wait for the store, above 0; default 0.05.
        workers: Processes that share the store, from 1 up; default 1.
        shadow: Whether no rule is enforced: all decide and count, and refuse nobody; default False.
        switch: Turns these limits off and on while the app runs; default None: they are always on.

    Raises:
        ConfigurationError: There is no rule, or a setting is wrong.
    """
    if not rules:
        raise ConfigurationError(
            "rate_limited.rules", rules, "at least one, such as @rate_limited('5/minute')"
        )
    if key is not client_ip and all(isinstance(rule, Rule) for rule in rules):
        raise ConfigurationError(
            "rate_limited.key", key, "client_ip where every rule has a key= of its own"
        )
    caller = sys._getframe(1)
    made_at = f"{caller.f_globals.get('__name__', '?')}:{caller.f_lineno}"
    return RateLimited(
        tuple(_rule(rule, key) for rule in rules),
        store,
        made_at,
        fields=fields,
        on_store_failure=on_store_failure,
        store_timeout=store_timeout,
        workers=workers,
        shadow=shadow,
        switch=switch,
    )


def _rule(rule: object, key: Key) -> Rule:
    if not isinstance(rule, Rule):
        if not isinstance(rule, str | Quota):
            raise ConfigurationError(
                "rate_limited.rules", rule, "a Rule, a Quota, or a quota such as '5/minute'"
            )
        return Rule(rule, key=key)
    if rule.path is not None:
        raise ConfigurationError(
            "Rule.path", rule.path, "None where a function is limited, which knows no paths"
        )
    if rule.count_when is not None:
        raise ConfigurationError(
            "Rule.count_when", rule.count_when, "None where a function is limited: no response yet"
        )
    return rule


def _named(rule: Rule, name: str) -> Rule:
    """Return the rule with a name that no other function has."""
    if rule.name is not None:
        return rule
    label = f"{rule.label} {name}".encode("ascii", "backslashreplace").decode()
    if not is_name(label):
        label = f"{label[:_ROOM]} {digest(label.encode())[:_HASH]}"
    return replace(rule, name=label)


def _name_of(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    names: Any = function if hasattr(function, "__qualname__") else type(function)
    return f"{names.__module__}:{names.__qualname__}"


def _check_function(function: object) -> None:
    allowed = None
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        allowed = "a function, sync or async; a generator's calls end before it has run"
    elif isinstance(function, type):
        allowed = "a function, sync or async; of a class, decorate the methods that answer"
    elif isinstance(function, classmethod | staticmethod):
        allowed = f"a function; put @rate_limited below @{type(function).__name__}"
    elif not callable(function):
        allowed = "a function, sync or async; quotas are for rate_limited(...)"
    if allowed is not None:
        raise ConfigurationError("rate_limited.__call__", function, allowed)
