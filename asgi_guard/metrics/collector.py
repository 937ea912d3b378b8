"""The collector: at scrape, from the snapshots of every stack to metric families."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from threading import Lock
from typing import TypeVar
from weakref import WeakKeyDictionary, WeakSet

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from asgi_guard.breaker.snapshot import BreakerSnapshot
from asgi_guard.breaker.states import BreakerState
from asgi_guard.errors import ConfigurationError
from asgi_guard.metrics import catalogue
from asgi_guard.metrics.catalogue import Metric
from asgi_guard.metrics.durations import Durations
from asgi_guard.parts import Parts
from asgi_guard.rate_limit.place import PLACES
from asgi_guard.rate_limit.rules.running import RuleCounts

T = TypeVar("T")
Values = dict[tuple[str, ...], float]


class GuardCollector(Collector):
    """What all stacks that report to one registry have counted; one for each registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lock = Lock()
        self._stacks: WeakSet[Parts] = WeakSet()
        self.durations: Durations = Durations()
        registry.register(self)

    def add(self, parts: Parts, in_place_of: Parts | None = None) -> None:
        """Report a stack for as long as it lives, and from now on another one no more."""
        with self._lock:
            self._stacks.add(parts)
            if in_place_of is not None:
                self._stacks.discard(in_place_of)

    def remove(self, parts: Parts) -> None:
        """Report a stack no more."""
        with self._lock:
            self._stacks.discard(parts)

    def describe(self) -> Iterable[Family]:
        """Name the families, so that a clash is found when the registry is set up."""
        return [_durations(Durations()), *Tally().families()]

    def collect(self) -> Iterable[Family]:
        """Read every part once."""
        with self._lock:
            stacks = list(self._stacks)
        tally = Tally()
        for method, count in self.durations.active.copy().items():
            tally.add(catalogue.ACTIVE_REQUESTS, (method,), count)
        for stack in stacks:
            for limit in stack.rate_limits:
                _rate_limit(tally, limit.snapshot())
        for place in PLACES.copy():
            _rate_limit(tally, place.snapshot())
        _concurrency(tally, stacks)
        _breakers(tally, stacks)
        _downstreams(tally, stacks)
        _pools(tally, stacks)
        return [_durations(self.durations), *tally.families()]


class Tally:
    """Values by metric and labels, on their way to families."""

    def __init__(self) -> None:
        self._values: dict[str, Values] = {metric.name: {} for metric in _METRICS}

    def add(self, metric: Metric, labels: tuple[str, ...], value: float) -> None:
        """Add a value; what is there already is merged with it."""
        values = self._values[metric.name]
        known = values.get(labels)
        if known is None:
            values[labels] = value
        else:
            values[labels] = max(known, value) if metric.merge == "max" else known + value

    def families(self) -> Iterator[Family]:
        """Return a family for every metric, with or without samples."""
        for metric in _METRICS:
            make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = make(metric.name, metric.help, labels=metric.labels)
            for labels, value in self._values[metric.name].items():
                family.add_metric(labels, value)
            yield family


_METRICS = [each for each in vars(catalogue).values() if isinstance(each, Metric)]


def _durations(durations: Durations) -> Family:
    family = HistogramMetricFamily(
        catalogue.REQUEST_DURATION,
        catalogue.REQUEST_DURATION_HELP,
        labels=catalogue.REQUEST_DURATION_LABELS,
    )
    for (method, route, status), buckets, total in durations.rows():
        family.add_metric((method, route, str(status)), buckets, total)
    return family


def _rate_limit(tally: Tally, rules: Iterable[RuleCounts]) -> None:
    for counts in rules:
        tally.add(catalogue.RATE_LIMIT_DECISIONS, (counts.rule, "allowed"), counts.allowed)
        tally.add(catalogue.RATE_LIMIT_DECISIONS, (counts.rule, "denied"), counts.denied)
        tally.add(catalogue.RATE_LIMIT_DECISIONS, (counts.rule, "exempt"), counts.exempt)
        tally.add(
            catalogue.RATE_LIMIT_DECISIONS, (counts.rule, "shadow_denied"), counts.shadow_denied
        )
        tally.add(catalogue.RATE_LIMIT_BANS, (counts.rule,), counts.bans)


def _concurrency(tally: Tally, stacks: Iterable[Parts]) -> None:
    caps = (cap for stack in stacks for cap in stack.concurrency)
    for cap in _once(caps, lambda cap: (cap.name, id(cap.permits))):
        name, now = cap.name, cap.snapshot()
        tally.add(catalogue.CONCURRENCY_LIMIT, (name,), now.limit)
        tally.add(catalogue.CONCURRENCY_IN_FLIGHT, (name,), now.in_flight)
        tally.add(catalogue.CONCURRENCY_QUEUED, (name,), now.waiting)
        tally.add(catalogue.CONCURRENCY_REJECTIONS, (name, "queue_full"), now.queue_full)
        tally.add(catalogue.CONCURRENCY_REJECTIONS, (name, "timeout"), now.timeout)


def _breakers(tally: Tally, stacks: Sequence[Parts]) -> None:
    breakers = (breaker for stack in stacks for breaker in stack.breakers)
    for breaker in _once(breakers, id):
        now = breaker.snapshot()
        for state in BreakerState:
            tally.add(catalogue.CIRCUIT_STATE, (now.name, _label(state)), now.state is state)
        for (before, after), count in now.transitions.items():
            labels = (now.name, _label(before), _label(after))
            tally.add(catalogue.CIRCUIT_TRANSITIONS, labels, count)
        for outcome in ("success", "failure", "ignored", "not_permitted"):
            tally.add(catalogue.CIRCUIT_CALLS, (now.name, outcome), getattr(now, outcome))
        _circuit(tally, now)
    edges = [stack.edge for stack in stacks if stack.edge is not None]
    if edges:
        tally.add(catalogue.CIRCUIT_TOO_LATE, (), sum(edge.too_late for edge in edges))


def _circuit(tally: Tally, now: BreakerSnapshot) -> None:
    calls = now.window_calls
    values: Mapping[Metric, float] = {
        catalogue.CIRCUIT_SLOW_CALLS: now.slow,
        catalogue.CIRCUIT_LATE_RESULTS: now.late,
        catalogue.CIRCUIT_LEASES_EXPIRED: now.leases_expired,
        catalogue.CIRCUIT_WOULD_TRIP: now.would_trip,
        catalogue.CIRCUIT_OPEN_SECONDS: now.open_seconds,
        catalogue.CIRCUIT_WINDOW_CALLS: calls,
        catalogue.CIRCUIT_WINDOW_FAILURES: now.window_failures / calls if calls else 0.0,
        catalogue.CIRCUIT_WINDOW_SLOW: now.window_slow / calls if calls else 0.0,
    }
    for metric, value in values.items():
        tally.add(metric, (now.name,), value)
    tally.add(catalogue.CIRCUIT_FALLBACKS, (now.name, "served"), now.fallbacks)
    tally.add(catalogue.CIRCUIT_FALLBACKS, (now.name, "failed"), now.fallbacks_failed)
    if now.children:
        for state in BreakerState:
            count = now.children.get(state, 0)
            tally.add(catalogue.CIRCUIT_CHILDREN, (now.name, _label(state)), count)


def _downstreams(tally: Tally, stacks: Iterable[Parts]) -> None:
    downstreams = (each for stack in stacks for each in stack.downstreams)
    for downstream in _once(downstreams, id):
        now = downstream.snapshot()
        name = now.name
        tally.add(catalogue.CLIENT_IN_FLIGHT, (name,), now.in_flight)
        tally.add(catalogue.CLIENT_QUEUE_DEPTH, (name,), now.waiting)
        tally.add(catalogue.CLIENT_STARTS, (name,), now.starts)
        tally.add(catalogue.CLIENT_QUEUE_WAITS, (name,), now.waits)
        tally.add(catalogue.CLIENT_QUEUE_WAIT_SECONDS, (name,), now.waited_seconds)
        for reason in ("queue_full", "timeout", "circuit_open"):
            tally.add(catalogue.CLIENT_QUEUE_REJECTED, (name, reason), getattr(now, reason))
        tally.add(catalogue.CLIENT_RETRIES, (name,), now.retries)
        tally.add(catalogue.CLIENT_FALLBACKS, (name, "fallback"), now.fallbacks)
        tally.add(catalogue.CLIENT_FALLBACKS, (name, "last_result"), now.stale)


def _pools(tally: Tally, stacks: Iterable[Parts]) -> None:
    pools = (pool for stack in stacks for pool in stack.pools.items())
    for name, pool in _once(pools, lambda pool: (pool[0], id(pool[1]))):
        now = pool.snapshot()
        tally.add(catalogue.POOL_CONNECTIONS, (name, "used"), now.used)
        tally.add(catalogue.POOL_CONNECTIONS, (name, "idle"), now.idle)
        tally.add(catalogue.POOL_WAITERS, (name,), now.waiters)
        tally.add(catalogue.POOL_TIMEOUTS, (name,), now.timeouts)
        measured: Mapping[Metric, float | None] = {
            catalogue.POOL_LIMIT: now.limit,
            catalogue.POOL_SIZE: now.size,
            catalogue.POOL_SATURATION: now.saturation,
        }
        for metric, value in measured.items():
            if value is not None:
                tally.add(metric, (name,), value)


def _once(items: Iterable[T], identity: Callable[[T], object]) -> list[T]:
    """Keep one of all items that are the same: what two stacks share is counted once."""
    return list({identity(item): item for item in items}.values())


def _label(state: BreakerState) -> str:
    return state.value.replace("-", "_")


def collector_for(registry: CollectorRegistry) -> GuardCollector:
    """Return the registry's collector, made and registered the first time it is asked for.

    Raises:
        ConfigurationError: The registry has metrics of the same names from somewhere else.
    """
    with _collectors_lock:
        collector = _collectors.get(registry)
        if collector is None:
            try:
                collector = GuardCollector(registry)
            except ValueError as error:
                raise ConfigurationError(
                    "Metrics.registry", registry, f"a registry without these metrics: {error}"
                ) from error
            _collectors[registry] = collector
        return collector


_collectors_lock = Lock()
_collectors: WeakKeyDictionary[CollectorRegistry, GuardCollector] = WeakKeyDictionary()
