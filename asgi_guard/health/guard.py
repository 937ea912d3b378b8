"""Health as a guard."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from starlette.responses import Response as Reply

from asgi_guard._asgi import ASGIApp, Receive, Scope, Send
from asgi_guard._checks import check_endpoint, check_name
from asgi_guard.access import Access, compile_access
from asgi_guard.errors import ConfigurationError
from asgi_guard.health.check import Check, Status
from asgi_guard.health.report import components, run_checks, worst
from asgi_guard.health.runner import Runner
from asgi_guard.matching import app_path, spellings
from asgi_guard.ops import answer_method, is_read
from asgi_guard.parts import Parts
from asgi_guard.response import Response
from asgi_guard.shell import Handle, Shell

Answer: TypeAlias = Callable[[Scope], Awaitable[Reply]]

_OK, _UNAVAILABLE = 200, 503
_SOON = {"retry-after": "1"}


@dataclass(frozen=True, slots=True)
class Health:
    """Answers the questions of load balancers and people, outside every limit.

    `/livez`: this process answers; nothing is asked. `/readyz`: no critical check fails.
    `/health`: everything that is known. `pass` and `warn` are 200, `fail` is 503; a check that is
    not critical can only `warn`, and so can an open breaker, a full pool or a full concurrency cap.

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

    def __call__(self, app: ASGIApp) -> "HealthShell":
        """Wrap an ASGI app."""
        return HealthShell(self, app)


class HealthShell(Shell):
    """The ASGI app that `Health` returns."""

    def __init__(
        self,
        settings: Health,
        app: ASGIApp,
        inner: Handle | None = None,
        parts: Parts | None = None,
    ) -> None:
        super().__init__(settings, app, inner)
        self._parts = parts or Parts()
        self._runners = {name: Runner(check) for name, check in settings.checks.items()}
        self._critical = {
            name: self._runners[name] for name, check in settings.checks.items() if check.critical
        }
        self._access = compile_access("Health.access", settings.access)
        self._answers: dict[str, Answer] = {
            settings.live: self._live,
            settings.ready: self._ready,
            settings.report: self._report,
        }
        self._spellings = spellings(self._answers)

    def handle(self, scope: Scope, receive: Receive, response: Response) -> Awaitable[None]:
        """Answer a question about health, or pass the request on."""
        if scope["path"] in self._spellings or scope.get("root_path"):
            answer = self._answers.get(app_path(scope))
            if answer is not None and scope["type"] == "http":
                return self._answer(answer, scope, receive, response.send)
        return self._inner(scope, receive, response)

    async def _answer(self, answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
        if is_read(scope):
            await (await answer(scope))(scope, receive, send)
        else:
            await answer_method(scope, receive, send)

    async def _live(self, _: Scope) -> Reply:
        return _response(Status.PASS)

    async def _ready(self, _: Scope) -> Reply:
        results = await run_checks(self._critical)
        return _response(worst([result.status for result in results.values()]))

    async def _report(self, scope: Scope) -> Reply:
        found = components(await run_checks(self._runners), self._parts)
        status = worst([Status(component["status"]) for component in found.values()])
        shown = self._access is not None and self._access(scope)
        return _response(status, {"checks": found} if shown else {})


def _response(status: Status, more: Mapping[str, object] | None = None) -> Reply:
    failed = status is Status.FAIL
    return Reply(
        json.dumps({"status": status.value, **(more or {})}),
        _UNAVAILABLE if failed else _OK,
        {"cache-control": "no-store", **(_SOON if failed else {})},
        "application/json",
    )
