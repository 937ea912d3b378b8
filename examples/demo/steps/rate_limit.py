"""The rate limit: a client over its quota is refused, told when to come back, and admitted then."""

import asyncio
import json

from examples.demo.report import Step
from examples.demo.visitor import Answer, Visitor, statuses

_QUOTA = 5
_MOST_ADMITTED = 8  # units come back while we send: on a slow machine a few more than the quota
_ENOUGH_REFUSED = 3
_LONGEST_WAIT = 5  # seconds


async def over_quota(visitor: Visitor, step: Step) -> None:
    """Send to the tight rule until refused, wait as told, and send again."""
    admitted: list[Answer] = []
    refused: list[Answer] = []
    while len(refused) < _ENOUGH_REFUSED and len(admitted) <= _MOST_ADMITTED:
        answer = await visitor.ask("POST", "/login")
        (refused if answer.status == 429 else admitted).append(answer)
    sent = len(admitted) + len(refused)
    step.sent = f"{sent} x POST /login, quota 5 per 3 seconds; one more after Retry-After"
    step.say(f"{sent} x POST /login", f"{len(admitted)} admitted, {len(refused)} refused")
    step.expect(
        "requests admitted before the first refusal",
        f"{_QUOTA} to {_MOST_ADMITTED}",
        len(admitted),
        _QUOTA <= len(admitted) <= _MOST_ADMITTED,
    )
    step.expect("status of what was admitted", "200", statuses(admitted))
    _show_fields(step, "an admitted response", admitted[:1])
    _show_fields(step, "a refused response", refused[:1])
    wait = _check_refusals(step, refused)
    step.say("", f"waiting {wait} s, as Retry-After says ...")
    await asyncio.sleep(min(wait, _LONGEST_WAIT))
    again = await visitor.ask("POST", "/login")
    step.say("POST /login, once more", f"{again.status} {json.dumps(again.body)}")
    step.expect("status after waiting", 200, again.status)
    step.happened = (
        f"{len(admitted)} x {statuses(admitted)}, then {len(refused)} x {statuses(refused)} with "
        f"Retry-After: {wait}; after {wait} s {again.status} again"
    )


def _show_fields(step: Step, label: str, answers: list[Answer]) -> None:
    for answer in answers:
        names = ("RateLimit-Policy", "RateLimit", "Retry-After", "Content-Type")
        fields = [f"{name}: {answer.fields[name]}" for name in names if name in answer.fields]
        step.say(label, str(answer.status), *fields)
        if answer.status == 429:
            step.say("   its body", *[f"{key}: {value}" for key, value in answer.body.items()])


def _check_refusals(step: Step, refused: list[Answer]) -> int:
    """Hold every refusal against what clients are promised; return the longest wait."""
    step.expect("refusals", _ENOUGH_REFUSED, len(refused))
    for answer in refused:
        step.expect("Content-Type", "application/problem+json", answer.fields["content-type"])
        step.expect("violated-policies", ["login"], answer.body.get("violated-policies"))
        step.expect("RateLimit", "r=0 for login", answer.fields.get("ratelimit"), _is_empty(answer))
        wait = answer.retry_after
        step.expect("Retry-After", f"1 to {_LONGEST_WAIT}", wait, 1 <= wait <= _LONGEST_WAIT)
    return max((answer.retry_after for answer in refused), default=0)


def _is_empty(answer: Answer) -> bool:
    return '"login";r=0;' in answer.fields.get("ratelimit", "")
