"""Metrics: the pool's numbers, and the server's counts against what the client has seen."""

from examples.demo.report import Step
from examples.demo.visitor import Scrape, Visitor

_POOL = "asgi_guard_db_pool"
_COUNTED = (429, 502, 503)


async def scrape(visitor: Visitor, step: Step) -> None:
    """Read `/metrics` once all is quiet."""
    step.sent = "GET /metrics"
    found = await visitor.scrape()
    step.say("GET /metrics", *[line for line in found.lines if line.startswith(_POOL)])
    used = found.value(f"{_POOL}_connections", pool="main", state="used")
    idle = found.value(f"{_POOL}_connections", pool="main", state="idle")
    limit = found.value(f"{_POOL}_limit", pool="main")
    step.expect("pool limit", 5, limit)
    step.expect("connections used", 0, used)
    step.expect("connections idle", "1 to 3", idle, 1 <= idle <= 3)
    step.expect("callers waiting", 0, found.value(f"{_POOL}_waiters", pool="main"))
    counts = [_compare(visitor, step, found, status) for status in _COUNTED]
    step.happened = (
        f"pool {used:g} of {limit:g} used, {idle:g} idle, nobody waiting; requests counted: "
        f"{', '.join(counts)}, as the client saw"
    )


def _compare(visitor: Visitor, step: Step, found: Scrape, status: int) -> str:
    name = "http_server_request_duration_seconds_count"
    counted = found.value(name, http_response_status_code=str(status))
    seen = visitor.statuses[status]
    step.say(f"requests with {status}", f"{counted:g} counted by the server, {seen} by the client")
    step.expect(f"count of {status}", seen, counted)
    return f"{counted:g} x {status}"
