"""Health: probes are answered before and after the trouble, and the report names every part."""

from examples.demo.report import Step
from examples.demo.visitor import Visitor

_PARTS = ("database", "circuit:payments", "pool:main", "concurrency:requests")


async def probes(visitor: Visitor, step: Step) -> None:
    """Ask what load balancers and people ask."""
    step.sent = "GET /livez, /readyz, /health"
    for path in ("/livez", "/readyz", "/health"):
        answer = await visitor.ask("GET", path)
        seen = f"{answer.status} {answer.body.get('status')}"
        step.say(f"GET {path}", seen)
        step.expect(f"GET {path}", "200 pass", seen)
    checks = answer.body.get("checks", {})
    for name in _PARTS:
        part = checks.get(name, {})
        facts = ", ".join(f"{key} {value}" for key, value in part.items() if key != "status")
        step.say(f"   {name}", f"{part.get('status')}  {facts}")
        step.expect(name, "pass", part.get("status"))
    step.happened = f"200 pass from all three; passing: {', '.join(checks)}"
