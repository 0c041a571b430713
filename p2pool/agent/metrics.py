"""Metrics for Prometheus, taken from the view and the counters at the moment they are asked for."""

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from p2pool.model.states import RaftRole
from p2pool.model.view import View

Counters = Callable[[], Counter[str]]


class Metrics:
    """The metrics of one agent."""

    def __init__(self, steps: Callable[[], int], queued: Callable[[], int]) -> None:
        """`steps`, `queued`: of the loop."""
        self._steps, self._queued = steps, queued
        self._sources: list[tuple[str, Counters]] = []
        self._view: View | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def add(self, name: str, counters: Counters) -> None:
        """Counters of a driver, by what was counted."""
        self._sources.append((name, counters))

    def render(self, view: View) -> bytes:
        """The exposition text."""
        self._view = view
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        yield CounterMetricFamily("p2pool_steps", "Steps of the core.", value=self._steps())
        yield GaugeMetricFamily("p2pool_inputs_queued", "Inputs that wait.", value=self._queued())
        for name, counters in self._sources:
            family = CounterMetricFamily(
                f"p2pool_{name}", f"What {name} counted.", labels=["event"]
            )
            for event, count in sorted(counters().items()):
                family.add_metric([event], count)
            yield family
        if self._view is not None:
            yield from _of_view(self._view)


def _of_view(view: View) -> Iterator[Metric]:
    gauges = {
        "term": ("Raft term.", view.term),
        "commit_index": ("Index up to which the log is committed.", view.commit_index),
        "applied_index": ("Index up to which it is applied.", view.applied_index),
        "is_leader": ("Whether this agent leads.", int(view.role is RaftRole.LEADER)),
        "has_leader": ("Whether a leader is known.", int(view.leader is not None)),
        "ready": ("Whether this agent takes part.", int(view.ready)),
        "roster_age_seconds": ("How old the roster is.", view.roster_age_ms / 1000),
        "peers_connected": ("Connected peers.", view.peers_connected),
        "members": ("Nodes in the pool.", len(view.nodes)),
    }
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(f"p2pool_{name}", text, value=value)
    copies = GaugeMetricFamily("p2pool_allocations", "Copies of tasks.", labels=["state"])
    states: Counter[str] = Counter()
    for task in view.tasks:
        states.update(copy.state.name.lower() for copy in task.allocations)
    for state, count in sorted(states.items()):
        copies.add_metric([state], count)
    yield copies
