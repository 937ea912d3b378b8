"""The circuit breaker: what keeps failing is not called, until it is back."""

import asyncio
from collections.abc import Sequence
from statistics import median

from examples.demo.payments import Payments
from examples.demo.report import Step, duration
from examples.demo.visitor import Answer, Visitor, statuses

_MOST_FAILURES = 6  # three in a row trip it; without a breaker it would go on for ever
_REFUSALS = 5
_TRIALS = 2
_LONGEST_WAIT = 5  # seconds


async def opens(payments: Payments, visitor: Visitor, step: Step) -> None:
    """Put the downstream out of order, and call it until the breaker refuses."""
    step.sent = "POST /pay while payments is out of order"
    good = await visitor.ask("POST", "/pay")
    step.say("POST /pay", f"{good.status} in {duration([good.seconds])}, while all is well")
    step.expect("POST /pay while all is well", 200, good.status)
    payments.out_of_order = True
    step.say("", "payments goes out of order: it answers 500, and slowly ...")
    failed, first = await _until_refused(visitor)
    reached = payments.received
    state = (await visitor.scrape()).circuit_state("payments")
    report = await visitor.ask("GET", "/health")
    refused = [first, *[await visitor.ask("POST", "/pay") for _ in range(_REFUSALS - 1)]]
    let_through = payments.received - reached
    step.say(f"{len(failed)} x POST /pay", _counted(failed))
    step.say("GET /metrics", f'asgi_guard_circuit_state{{breaker="payments",state="{state}"}} 1.0')
    step.say(
        f"{len(refused)} x POST /pay",
        f"{_counted(refused)}, Retry-After: {first.retry_after}",
        f"calls that reached payments meanwhile: {let_through}",
    )
    health = f"{report.status} {report.body.get('status')}"
    step.say("GET /health", f"{health}: the app is less than well, and still gets traffic")
    step.expect("GET /health while the circuit is open", "200 warn", health)
    step.expect("status of failing calls", "502", statuses(failed))
    step.expect("status of refused calls", "503", statuses(refused))
    step.expect("Retry-After", "1 or more", first.retry_after, first.retry_after >= 1)
    step.expect("calls that reached payments", 0, let_through)
    step.expect("state on /metrics", "open", state)
    slow, fast = _seconds(failed), _seconds(refused)
    quicker = bool(slow) and median(fast) < median(slow)
    step.expect("refusals", "quicker than failures", duration(fast), quicker)
    step.happened = (
        f"{_counted(failed)}; then the circuit is {state}: {_counted(refused)}, "
        f"{let_through or 'none'} of them reached payments"
    )


async def closes(payments: Payments, visitor: Visitor, step: Step) -> None:
    """Put the downstream in order again, wait as told, and call it."""
    step.sent = "POST /pay once payments is back"
    payments.out_of_order = False
    refused = await visitor.ask("POST", "/pay")
    wait = refused.retry_after
    step.say("", f"payments is back; waiting {wait} s, as Retry-After says ...")
    await asyncio.sleep(min(wait, _LONGEST_WAIT))
    states = [(await visitor.scrape()).circuit_state("payments")]
    step.say("GET /metrics", f"circuit {states[0]}")
    trials = []
    for _ in range(_TRIALS):
        trials.append(await visitor.ask("POST", "/pay"))
        states.append((await visitor.scrape()).circuit_state("payments"))
        step.say("POST /pay, a trial", f"{trials[-1].status}, circuit {states[-1]}")
    step.expect("status of the trials", "200", statuses(trials))
    step.expect("state after waiting", "half_open", states[0])
    step.expect("state after the trials", "closed", states[-1])
    step.happened = (
        f"after {wait} s {len(trials)} trials, {len(trials)} x {statuses(trials)}; "
        f"circuit {' -> '.join(dict.fromkeys(states))}"
    )


async def _until_refused(visitor: Visitor) -> tuple[list[Answer], Answer]:
    """Call until something else than a failing downstream answers, or it is enough."""
    failed: list[Answer] = []
    while True:
        answer = await visitor.ask("POST", "/pay")
        if answer.status == 503 or len(failed) == _MOST_FAILURES:
            return failed, answer
        failed.append(answer)


def _seconds(answers: Sequence[Answer]) -> list[float]:
    return [answer.seconds for answer in answers]


def _counted(answers: Sequence[Answer]) -> str:
    return f"{len(answers)} x {statuses(answers)} in {duration(_seconds(answers))}"
