"""The conductor's contract: one persist and it comes first, silence after a failed write."""

from typing import get_type_hints

import attrs
import pytest

from p2pool.core import effects as fx
from p2pool.core import inputs
from p2pool.core.context import Context
from p2pool.core.leader.leader import Leader
from p2pool.core.node import Node
from p2pool.core.parts import Parts
from p2pool.model.errors import StoreFailed
from p2pool.model.ports.agent import ReadIndexCommand
from tests.sim.world.world import World


@pytest.fixture
def world() -> World:
    """Three nodes that have elected a leader."""
    made = World(1, 3)
    for number in range(3):
        made.start(number)
    made.run(8_000)
    return made


def leader(world: World) -> Node:
    """The one that leads."""
    (node,) = [
        m.node for m in world.machines if m.node is not None and m.node.context.pool_log.leads
    ]
    return node


def test_what_is_kept_comes_first_and_once(world: World) -> None:
    """The simulator raises for any step that breaks this; here it is looked at directly."""
    node = leader(world)
    out = node.step([inputs.Asked(1, ReadIndexCommand()), inputs.Ticked()], world.now())
    persists = [i for i, effect in enumerate(out) if isinstance(effect, fx.Persist)]
    assert persists in ([], [0])


def test_after_a_failed_write_a_node_is_silent(world: World) -> None:
    """It answers who asked it, tells its log, and sends nothing to anybody any more."""
    node = leader(world)
    out = node.step(inputs.PersistFailed("no space left"), world.now())
    assert any(isinstance(e, fx.Log) for e in out)
    world.run(0)
    for _ in range(5):
        out = node.step([inputs.Asked(7, ReadIndexCommand()), inputs.Ticked()], world.now())
        assert all(isinstance(effect, (fx.Log, fx.Reply)) for effect in out)
        replies = [e for e in out if isinstance(e, fx.Reply)]
        assert [type(r.result) for r in replies] == [StoreFailed]
    assert "no space left" in node.view(world.now()).problems[0]


def test_the_others_go_on_without_a_silent_leader(world: World) -> None:
    """They elect another, and its term is later."""
    node = leader(world)
    term = node.context.pool_log.term
    (machine,) = [m for m in world.machines if m.node is node]
    world.give(machine, inputs.PersistFailed("no space left"))
    rest = [m for m in world.machines if m is not machine]

    def led() -> bool:
        return any(m.node is not None and m.node.context.pool_log.leads for m in rest)

    assert world.run_until(led, 20_000)
    assert max(m.node.context.pool_log.term for m in rest if m.node is not None) > term


def test_a_node_sleeps_between_what_is_due(world: World) -> None:
    """After a step nothing is due at once, or the loop would never rest."""
    for machine in world.machines:
        assert machine.node is not None
        machine.node.step(inputs.Ticked(), world.now())
        machine.node.step(inputs.Ticked(), world.now())
        assert machine.node.next_wakeup_ms > world.now_ms


def test_a_lost_quorum_is_named(world: World) -> None:
    """Who is left says how many voters are connected, how many are needed, and who is missing."""
    node = leader(world)
    others = [m.node for m in world.machines if m.node is not None and m.node is not node]
    for other in others:
        node.step(inputs.PeerDisconnected(other.context.config.me.peer_key), world.now())
    assert "quorum" not in " ".join(node.view(world.now()).problems)  # It leads as yet.
    later = world.now()
    for _ in range(20):
        later = attrs.evolve(later, mono_ms=later.mono_ms + 500, wall_ms=later.wall_ms + 500)
        node.step(inputs.Ticked(), later)
    (said,) = [p for p in node.view(later).problems if "quorum" in p]
    assert "1 of 3 voters" in said
    assert all(other.context.me.hex() in said for other in others)


def ticking() -> list[type]:
    """The classes of a node's parts, and of what they share, that do something by themselves."""
    named = [*get_type_hints(Parts).values(), *get_type_hints(Context).values(), Leader]
    return [kind for kind in named if hasattr(kind, "tick")]


@pytest.mark.parametrize("kind", ticking(), ids=lambda kind: kind.__name__)
def test_every_part_is_ticked_and_asked_when_next(
    kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that is left out of the one list does nothing, and nobody notices."""
    called: list[str] = []

    def counted(name: str) -> None:
        method = getattr(kind, name)

        def counting(self: object, *given: object) -> object:
            called.append(name)
            return method(self, *given)

        monkeypatch.setattr(kind, name, counting)

    names = [name for name in ("tick", "wakeup_ms") if hasattr(kind, name)]
    for name in names:
        counted(name)
    world = World(1, 1)
    world.start(0)
    world.run(4_000)
    assert set(called) == set(names)
