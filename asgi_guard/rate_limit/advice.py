"""Advice: the classic mistakes with rate limits, found where they begin to hurt.

It is looked for at the first refusals of an app, so that no request that is admitted pays for it;
each piece of advice is logged once, with a code that the documentation explains.
"""

import ipaddress
import logging
import multiprocessing
import os
import re
from pathlib import Path

from asgi_guard._asgi import Scope

_LOG = logging.getLogger("asgi_guard")
_MOST = 20  # refusals that are looked at
_FORWARDED = {b"x-forwarded-for", b"forwarded"}
_NUMBER = re.compile(rb"\d+")


class Advice:
    """What one app should be told about its limits.

    Args:
        keyed_by_address: Whether a rule tells clients by their addresses.
        counts_here: Whether counters are in this process.
    """

    def __init__(self, *, keyed_by_address: bool, counts_here: bool) -> None:
        self._looks = _MOST
        self._keyed_by_address = keyed_by_address
        self._counts_here = counts_here

    def look(self, scope: Scope) -> None:
        """Look at a request that is refused."""
        if self._looks <= 0:
            return
        self._looks -= 1
        if self._counts_here:
            self._counts_here = False
            if has_fellows():
                _LOG.warning(
                    "AG003: this is one of several workers, and each counts by itself: together "
                    "they admit a multiple of every quota. Let them share a store, such as "
                    "RateLimit(..., store='redis://...'). See docs/reference/rate-limit.md#ag003"
                )
        if self._keyed_by_address and _is_forwarded(scope):
            self._keyed_by_address = False
            _LOG.warning(
                "AG002: a request was refused by the address of a proxy, so that all who come "
                "through it share one quota. Name the proxy: Guard(proxies=TrustedProxies(...)). "
                "See docs/reference/rate-limit.md#ag002"
            )


def _is_forwarded(scope: Scope) -> bool:
    """Tell whether a request came through a proxy that nobody has seen through."""
    client = scope.get("client")
    if client and not client[1]:
        return False  # whoever puts the client in the proxy's place knows no port
    if all(name not in _FORWARDED for name, _ in scope["headers"]):
        return False
    try:
        return not client or ipaddress.ip_address(client[0]).is_private
    except ValueError:
        return False


def has_fellows() -> bool:
    """Tell whether other workers serve the same app on this machine, as far as can be told."""
    if os.environ.get("WEB_CONCURRENCY", "1").strip() not in {"", "0", "1"}:
        return True
    if multiprocessing.parent_process() is None:
        return False
    try:  # workers that one parent has started differ in numbers only; elsewhere than on Linux: no
        return len([each for each in _siblings() if _command(each) == _command("self")]) > 1
    except OSError:
        return False


def _siblings() -> list[str]:
    parent = os.getppid()
    return Path(f"/proc/{parent}/task/{parent}/children").read_text().split()


def _command(process: str) -> bytes:
    return _NUMBER.sub(b"", Path(f"/proc/{process}/cmdline").read_bytes())
