"""What the guard says of itself, read from outside, and the gate its handlers wait at."""

from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.processes import until


class Reading:
    """The numbers of one answer of `/metrics`."""

    def __init__(self, text: str) -> None:
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def value(self, name: str, **labels: str) -> float | None:
        """Return the sum of the samples with this name and these labels, None without any."""
        found = [
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(found) if found else None


def read(http: httpx.Client, url: str) -> Reading:
    """Scrape once."""
    return Reading(http.get(f"{url}/metrics").raise_for_status().text)


def permits(http: httpx.Client, url: str) -> tuple[float | None, float | None]:
    """Return how many requests hold a permit, and how many wait for one."""
    reading = read(http, url)
    return (
        reading.value("asgi_guard_concurrency_in_flight", limiter="requests"),
        reading.value("asgi_guard_concurrency_queued", limiter="requests"),
    )


def until_permits(http: httpx.Client, url: str, in_flight: int, waiting: int = 0) -> None:
    """Wait for what `permits` returns, because a server tells the app of a change when it likes."""
    expected: tuple[float | None, float | None] = (in_flight, waiting)

    def reached() -> bool:
        now = permits(http, url)
        if now != expected:
            raise AssertionError(f"(in flight, waiting) is {now}, not {expected}")
        return True

    until(reached)


@dataclass(frozen=True)
class Gate:
    """Where the handlers of one test wait."""

    http: httpx.Client
    url: str
    token: str

    def open(self) -> None:
        """Let everybody through, from now on."""
        self.http.post(f"{self.url}/go/{self.token}").raise_for_status()

    def waiting(self) -> int:
        """Return how many handlers wait at it."""
        answer: int = self.http.post(f"{self.url}/waiting/{self.token}").raise_for_status().json()
        return answer
