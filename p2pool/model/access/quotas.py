"""What a delegate's quota lets it ask for, and what it lets it use at the moment.

Intuition: a quota is a part of what its grantor signed, so everybody who holds the submission
judges it alike: the API that takes it, the leader, each voter, each replica, and the node that is
to run it. What could never run under it is refused (`never_fits`); what only finds no room now,
because other tasks of the same delegate use it, waits (`over_quota`).

Invariants: pure, of the quota, the specification and the delegate's use alone.
Source: docs/design/tasks.md, "Quotas".
"""

from collections.abc import Iterator

import attrs

from p2pool.model.access.amounts import cpus_text
from p2pool.model.access.delegations import Quota
from p2pool.model.errors import NotAllowed
from p2pool.model.tasks.spec import Resources, TaskSpec

OVER = "over the quota of the delegation: "


@attrs.frozen
class Usage:
    """What copies that have a place take of a quota."""

    gpus: int = 0
    cpu_milli: int = 0
    replicas: int = 0

    def plus(self, other: "Usage", times: int = 1) -> "Usage":
        """This, and another so many times."""
        return Usage(
            self.gpus + times * other.gpus,
            self.cpu_milli + times * other.cpu_milli,
            self.replicas + times * other.replicas,
        )


NO_USAGE = Usage()


def usage_of(resources: Resources, copies: int = 1) -> Usage:
    """What so many copies take."""
    return NO_USAGE.plus(Usage(resources.gpu.count, resources.cpu_milli, 1), copies)


def never_fits(quota: Quota, spec: TaskSpec) -> tuple[str, ...]:
    """Why a task could not run whole under a quota, even with nothing else there; empty if it
    could. A system task has a copy on each node that takes it, so one has to fit."""
    return tuple(_flaws(quota, spec))


def _flaws(quota: Quota, spec: TaskSpec) -> Iterator[str]:
    prefix, most = quota.name_prefix, quota.max_priority
    if prefix is not None and not spec.name.startswith(prefix):
        yield f"its name {spec.name!r} does not begin with {prefix!r}"
    if most is not None and spec.priority > most:
        yield f"its priority {spec.priority} is over {most}"
    wanted = usage_of(spec.resources, 1 if spec.system else spec.replicas)
    for text, (most, _, asked) in _amounts(quota, NO_USAGE, wanted):
        if asked > most:
            told = text.format(_text(asked, text))
            yield f"it asks for {told}, and {_text(most, text)} is the most"


def quota_refusal(flaws: tuple[str, ...]) -> NotAllowed:
    """The refusal of a submission that never fits."""
    return NotAllowed(
        f"The task is over the quota of the delegation: {'; '.join(flaws)}.",
        hint="Ask for less, or ask the pool's manager for another delegation.",
    )


def over_quota(quota: Quota, used: Usage, more: Usage) -> str | None:
    """Why a delegate that uses so much gets no more of this now, or None if it does."""
    if more == NO_USAGE:
        return None
    for text, (most, held, asked) in _amounts(quota, used, more):
        if asked and held + asked > most:
            shown = text.format(f"{_text(held, text)} of {_text(most, text)}")
            wants = f", and it needs {_text(asked, text)}" if held < most else ""
            return f"{OVER}{shown} in use{wants}"
    return None


_GPUS, _CPUS, _REPLICAS = "{} GPUs", "{} CPUs", "{} replicas"


def _amounts(quota: Quota, used: Usage, more: Usage) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Each amount that a quota limits: in words, the most, what is used, and what is asked."""
    if quota.max_gpus is not None:
        yield _GPUS, (quota.max_gpus, used.gpus, more.gpus)
    if quota.max_cpu_milli is not None:
        yield _CPUS, (quota.max_cpu_milli, used.cpu_milli, more.cpu_milli)
    if quota.max_replicas is not None:
        yield _REPLICAS, (quota.max_replicas, used.replicas, more.replicas)


def _text(amount: int, unit: str) -> str:
    """An amount as people write it: 2500 thousandths of a CPU are 2.5."""
    return cpus_text(amount) if unit == _CPUS else str(amount)
