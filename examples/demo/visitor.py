"""The demo's client: sends real requests, takes their time and counts their answers."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT = 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One response.

    Attributes:
        status: The status code.
        fields: The header fields.
        body: The JSON body, or an empty mapping where there is none.
        seconds: From sending the request to the last byte.
    """

    status: int
    fields: httpx.Headers
    body: Any
    seconds: float

    @property
    def retry_after(self) -> int:
        """Whole seconds to wait; 0 where nothing is said."""
        return int(self.fields.get("retry-after", 0))


def statuses(answers: Sequence[Answer]) -> str:
    """Say which status codes there were, such as `200` or `200, 503`; `none` without answers."""
    return ", ".join(map(str, sorted({answer.status for answer in answers}))) or "none"


class Scrape:
    """The samples of one answer of `/metrics`."""

    def __init__(self, text: str) -> None:
        self.lines = [line for line in text.splitlines() if not line.startswith("#")]
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def value(self, name: str, **labels: str) -> float:
        """Add up the samples with these labels; NaN, which meets no expectation, for none."""
        values = [
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(values) if values else math.nan

    def circuit_state(self, breaker: str) -> str:
        """Return the state a breaker is in."""
        name = "asgi_guard_circuit_state"
        states = [
            sample.labels["state"]
            for sample in self._samples
            if sample.name == name and sample.labels["breaker"] == breaker and sample.value == 1
        ]
        return " and ".join(states) or "unknown"


class Visitor:
    """Sends requests to one app.

    Attributes:
        statuses: How often each status code was seen.
    """

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT, trust_env=False)
        self.statuses: Counter[int] = Counter()

    async def __aenter__(self) -> Self:
        """Open the client."""
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client."""
        await self._client.__aexit__(kind, error, traceback)

    async def ask(self, method: str, path: str) -> Answer:
        """Send a request and read the whole response."""
        began = time.perf_counter()
        response = await self._client.request(method, path)
        seconds = time.perf_counter() - began
        self.statuses[response.status_code] += 1
        is_json = "json" in response.headers.get("content-type", "")
        body = response.json() if is_json else {}
        return Answer(response.status_code, response.headers, body, seconds)

    async def scrape(self) -> Scrape:
        """Read `/metrics`."""
        response = await self._client.get("/metrics")
        return Scrape(response.text if response.is_success else "")
