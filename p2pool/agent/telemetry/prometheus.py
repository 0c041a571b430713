"""Prometheus metrics, taken from the view and the counters at scrape time."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client import Counter as PrometheusCounter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from p2pool.model.ids import AllocationId
from p2pool.model.machine.hardware import UNKNOWN
from p2pool.model.ports.view import View
from p2pool.model.states import RaftRole

Counters = Callable[[], Counter[str]]
TaskValues = Callable[[], Iterator[tuple[AllocationId, str, float]]]
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """The metrics of one agent."""

    def __init__(self, steps: Callable[[], int], queued: Callable[[], int]) -> None:
        """`steps`, `queued`: the loop's step count and queue length."""
        self._steps, self._queued = steps, queued
        self._sources: list[tuple[str, Counters]] = []
        self._view: View | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self.containers: Counter[str] = Counter()
        self.tasks: TaskValues = lambda: iter(())
        self._seconds = Histogram(
            "p2pool_container_seconds",
            "Duration of container engine calls.",
            ["call"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._failures = PrometheusCounter(
            "p2pool_container_failures",
            "Container engine calls that failed.",
            ["call"],
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)

    def add(self, name: str, counters: Counters) -> None:
        """Add a driver's counters, by event; those of an earlier run of it go."""
        others = [source for source in self._sources if source[0] != name]
        self._sources = [*others, (name, counters)]

    @contextmanager
    def timed(self, call: str) -> Iterator[None]:
        """Record how long a container engine call took, or that it failed."""
        began_s = time.monotonic()
        try:
            yield
        except Exception:
            self._failures.labels(call).inc()
            raise
        self._seconds.labels(call).observe(time.monotonic() - began_s)

    def render(self, view: View) -> bytes:
        """The exposition text."""
        self._view = view
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        yield CounterMetricFamily("p2pool_steps", "Steps of the core.", value=self._steps())
        yield GaugeMetricFamily("p2pool_inputs_queued", "Queued inputs.", value=self._queued())
        for name, counters in self._sources:
            family = CounterMetricFamily(
                f"p2pool_{name}", f"Events counted by {name}.", labels=["event"]
            )
            for event, count in sorted(counters().items()):
                family.add_metric([event], count)
            yield family
        kept = GaugeMetricFamily(
            "p2pool_containers", "Containers on this node by their state.", labels=["state"]
        )
        for state, count in sorted(self.containers.items()):
            kept.add_metric([state], count)
        yield kept
        said = GaugeMetricFamily(
            "p2pool_task_metric",
            "Values that tasks on this node report.",
            labels=["allocation", "name"],
        )
        for allocation, name, value in self.tasks():
            said.add_metric([str(allocation), name], value)
        yield said
        if self._view is not None:
            yield from _of_view(self._view)
            yield from _of_machine(self._view)


def _of_machine(view: View) -> Iterator[Metric]:
    """This node's capacity, how much of it is free, and the health of its GPUs."""
    me = view.node(view.node_id)
    if me is None or me.hardware is None:
        return
    has, free = me.hardware, me.free
    for name, text, total, left in (
        ("cpu_milli", "Thousandths of processors", has.cpu_milli, free.cpu_milli if free else 0),
        ("memory_bytes", "Memory", has.memory_bytes, free.memory_bytes if free else 0),
        ("disk_bytes", "Disk", has.disk_bytes, free.disk_bytes if free else 0),
        ("gpus", "GPUs", len(has.gpus), free.gpus if free else 0),
    ):
        yield GaugeMetricFamily(f"p2pool_node_{name}", f"{text} offered.", value=total)
        yield GaugeMetricFamily(f"p2pool_node_{name}_free", f"{text} free.", value=left)
    fields = ("temperature_c", "busy_percent", "memory_used_mib", "processes", "ecc_errors", "xid")
    loads = list(zip(has.gpus, me.load.gpus, strict=False))
    for field in fields if loads else ():
        family = GaugeMetricFamily(f"p2pool_gpu_{field}", f"GPU: {field}.", labels=["uuid"])
        for gpu, load in loads:
            if (value := getattr(load, field)) != UNKNOWN:
                family.add_metric([gpu.uuid], value)
        yield family


def _of_view(view: View) -> Iterator[Metric]:
    gauges = {
        "term": ("Raft term.", view.term),
        "commit_index": ("Index up to which the log is committed.", view.commit_index),
        "applied_index": ("Index up to which the log is applied.", view.applied_index),
        "is_leader": ("Whether this agent leads.", int(view.role is RaftRole.LEADER)),
        "has_leader": ("Whether a leader is known.", int(view.leader is not None)),
        "ready": ("Whether this agent takes part.", int(view.ready)),
        "roster_age_seconds": ("Age of the roster.", view.roster_age_ms / 1000),
        "peers_connected": ("Connected peers.", view.peers_connected),
        "members": ("Nodes in the pool.", len(view.nodes)),
    }
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(f"p2pool_{name}", text, value=value)
    copies = GaugeMetricFamily(
        "p2pool_allocations",
        "Copies of tasks; unknown: on nodes that nobody hears.",
        labels=["state"],
    )
    states: Counter[str] = Counter()
    for task in view.tasks:
        states.update(
            copy.state.name.lower() if copy.known else "unknown" for copy in task.allocations
        )
    for state, count in sorted(states.items()):
        copies.add_metric([state], count)
    yield copies
