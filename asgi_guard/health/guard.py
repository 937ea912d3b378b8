"""Health as a guard."""

import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import Any

from starlette.responses import Response

from asgi_guard._asgi import ASGIApp, Receive, Scope, Send
from asgi_guard._checks import check_endpoint, check_name
from asgi_guard.access import Access, compile_access
from asgi_guard.errors import ConfigurationError
from asgi_guard.health.check import Check, Status
from asgi_guard.health.report import circuit_status, components, run_checks, worst
from asgi_guard.health.runner import Runner
from asgi_guard.ops import Answer, Endpoints
from asgi_guard.parts import Parts
from asgi_guard.shell import Shell

_OK, _UNAVAILABLE = 200, 503
_SOON = {"retry-after": "1"}


@dataclass(frozen=True, slots=True)
class Health:
    """Answers the questions of load balancers and people, outside every limit.

    `/livez`: this process answers; nothing is asked. `/readyz`: no critical check fails, and no
    critical breaker is open. `/health`: everything that is known. `pass` and `warn` are 200, `fail`
    is 503; a check that is not critical can only `warn`, and so can an open breaker that is not, a
    full pool or a full concurrency cap.

    What strangers see is the status and nothing else. Checks run at once, each within its time, and
    once for all who ask at the same time.

    Args:
        checks: By name: an engine of SQLAlchemy, a function without arguments, or a `Check` that
            says more about either; default none.
        live: Path of liveness; default `/livez`.
        ready: Path of readiness; default `/readyz`.
        report: Path of the report; default `/health`.
        access: Who may see the parts in the report: None (the default) for nobody, a bearer
            token, networks such as `["10.0.0.0/8"]`, or a function of the scope.

    Raises:
        ConfigurationError: A field is wrong; the message says which, and what is allowed.
    """

    _: KW_ONLY
    checks: Mapping[str, Any] = field(default_factory=dict)
    live: str = "/livez"
    ready: str = "/readyz"
    report: str = "/health"
    access: Access = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be answered."""
        paths = {"live": self.live, "ready": self.ready, "report": self.report}
        for name, path in paths.items():
            check_endpoint(f"Health.{name}", path)
        if len(set(paths.values())) < len(paths):
            raise ConfigurationError("Health", paths, "three different paths")
        if not isinstance(self.checks, Mapping):
            raise ConfigurationError(
                "Health.checks", self.checks, "a mapping from names to engines or functions"
            )
        made = {}
        for name, check in self.checks.items():
            check_name("Health.checks", name)
            made[name] = check if isinstance(check, Check) else Check(check)
        object.__setattr__(self, "checks", MappingProxyType(made))
        compile_access("Health.access", self.access)

    def __call__(self, app: ASGIApp) -> Shell:
        """Wrap an ASGI app."""
        return Shell(self, app, [Endpoints(HealthEndpoints(self).answers)])


class HealthEndpoints:
    """The endpoints of a `Health` round one app.

    Args:
        settings: Which there are, and what they ask.
        parts: What the report shows beside the checks; default None: nothing.
        before: Endpoints that these follow; of checks that stay, so do the results; default None.

    Attributes:
        answers: What answers, by path.
    """

    def __init__(
        self,
        settings: Health,
        parts: Parts | None = None,
        before: "HealthEndpoints | None" = None,
    ) -> None:
        self._parts = parts or Parts()
        known: Mapping[str, Runner] = {} if before is None else before._runners
        self._runners: dict[str, Runner] = {
            name: _runner(check, known.get(name)) for name, check in settings.checks.items()
        }
        self._critical = {
            name: self._runners[name] for name, check in settings.checks.items() if check.critical
        }
        self._access = compile_access("Health.access", settings.access)
        self.answers: dict[str, Answer] = {
            settings.live: self._live,
            settings.ready: self._ready,
            settings.report: self._report,
        }

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _response(Status.PASS)(scope, receive, send)

    async def _ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        results = await run_checks(self._critical)
        circuits = [circuit_status(breaker) for breaker in self._parts.breakers]
        status = worst([*circuits, *(result.status for result in results.values())])
        await _response(status)(scope, receive, send)

    async def _report(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = components(await run_checks(self._runners), self._parts)
        status = worst([Status(component["status"]) for component in found.values()])
        shown = self._access is not None and self._access(scope)
        await _response(status, {"checks": found} if shown else {})(scope, receive, send)


def _runner(check: Check, known: Runner | None) -> Runner:
    return known if known is not None and known.check == check else Runner(check)


def _response(status: Status, more: Mapping[str, object] | None = None) -> Response:
    failed = status is Status.FAIL
    return Response(
        json.dumps({"status": status.value, **(more or {})}),
        _UNAVAILABLE if failed else _OK,
        {"cache-control": "no-store", **(_SOON if failed else {})},
        "application/json",
    )
