"""What people ask of a pool amid trouble: tasks, their ends, reads, drains, settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from p2pool.model.access.requests import Action

if TYPE_CHECKING:
    from tests.sim.faults.scenario import Story

BURST = 6


def _somebody(s: Story) -> int | None:
    """An agent that runs."""
    running = [m.number for m in s.world.machines if m.node is not None]
    return s.rng.choice(running) if running else None


def submit(s: Story) -> None:
    """A task."""
    at = _somebody(s)
    if at is not None:
        s.submit(at, s.spec())


def submit_widely(s: Story) -> None:
    """The same submission at two agents at once."""
    at, other = _somebody(s), _somebody(s)
    if at is not None and other is not None:
        s.send(other, s.submit(at, s.spec()))


def burst(s: Story) -> None:
    """Several tasks at once."""
    for _ in range(BURST):
        submit(s)


def send_again(s: Story) -> None:
    """An old submission once more."""
    at = _somebody(s)
    if at is not None and s.submitted:
        s.send(at, s.rng.choice(sorted(s.submitted)))


def stop(s: Story) -> None:
    """The end of a task."""
    at = _somebody(s)
    if at is not None and s.submitted:
        s.stop(at, s.rng.choice(list(s.submitted.values())))


def read(s: Story) -> None:
    """Consistent reads, everywhere."""
    for m in s.world.machines:
        s.read(m.number)


def drain(s: Story) -> None:
    """A node is to be drained, or to come back."""
    at = _somebody(s)
    if at is not None:
        action = s.rng.choice((Action.DRAIN, Action.RESUME))
        target = s.rng.choice(s.world.machines).node_id.hex()
        s.send(at, s.sign(action, target, ""))


def resize(s: Story) -> None:
    """Another size of the committee, or other timeouts."""
    at = _somebody(s)
    if at is not None:
        sizes = [str(n) for n in (3, 5, 7) if n <= len(s.world.machines)]
        name, values = s.rng.choice((("committee", sizes), ("timing", ["lan", "default", "wan"])))
        s.send(at, s.sign(Action.SET, name, f'{{"value":"{s.rng.choice(values)}"}}'))


ACTS: Mapping[str, tuple[int, Callable[[Story], None]]] = {
    "submit": (9, submit),
    "submit-widely": (2, submit_widely),
    "burst": (1, burst),
    "send-again": (2, send_again),
    "stop": (3, stop),
    "read": (5, read),
    "drain": (1, drain),
    "resize": (2, resize),
}
"""Each with its weight."""
