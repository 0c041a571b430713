"""The validator's metrics, as the agent's are exposed: what was asked, found and done."""

import time
from collections.abc import Callable, Iterable, Iterator

import attrs
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from p2pool.validator.policy.acts import TakenAct
from p2pool.validator.policy.findings import FindingKind

SECONDS = (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
Gauges = Callable[[], dict[str, tuple[str, float]]]


@attrs.define(eq=False)
class Metrics:
    """Of one run. `gauges`: what is read at a scrape, by name, with its sentence."""

    gauges: Gauges = dict
    _registry: CollectorRegistry = attrs.field(factory=CollectorRegistry)
    _findings: Counter = attrs.field(init=False)
    _acts: Counter = attrs.field(init=False)
    _failures: Counter = attrs.field(init=False)
    _seconds: Histogram = attrs.field(init=False)
    _turn_s: float = 0.0

    def __attrs_post_init__(self) -> None:
        registry = self._registry
        self._findings = Counter(
            "p2pool_validator_findings", "Findings, by kind.", ["kind"], registry=registry
        )
        self._acts = Counter(
            "p2pool_validator_acts",
            "Acts, by kind and what became of them.",
            ["kind", "state"],
            registry=registry,
        )
        self._failures = Counter(
            "p2pool_validator_failures", "What failed here, by part.", ["part"], registry=registry
        )
        self._seconds = Histogram(
            "p2pool_validator_challenge_seconds",
            "How long the nodes of one provider took.",
            buckets=SECONDS,
            registry=registry,
        )
        for kind in FindingKind:
            self._findings.labels(kind.value)
        registry.register(self)
        ProcessCollector(registry=registry)

    def sat(self, kinds: Iterable[FindingKind], seconds: float) -> None:
        """The nodes of a provider were asked, with these findings."""
        self._seconds.observe(seconds)
        for kind in kinds:
            self._findings.labels(kind.value).inc()

    def acted(self, taken: TakenAct, *, postponed: bool) -> None:
        """An act was tried."""
        state = "postponed" if postponed else taken.state.value
        self._acts.labels(taken.act.kind.value, state).inc()

    def failed(self, part: str) -> None:
        """Something failed here, and is tried again."""
        self._failures.labels(part).inc()

    def turned(self) -> None:
        """A turn came to its end."""
        self._turn_s = time.time()

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        yield GaugeMetricFamily(
            "p2pool_validator_last_turn_seconds",
            "When the last turn ended, in Unix seconds.",
            value=self._turn_s,
        )
        for name, (text, value) in self.gauges().items():
            yield GaugeMetricFamily(f"p2pool_validator_{name}", text, value=value)
