"""A member plays a voter its own words again, or writes more than there is room for.

Anybody may keep what is gossiped. Played at its old pace after a restart, it looks as if another
agent had gone on with a copy of the voter's disk.
"""

import pytest

from p2pool.model.messages.queries import DuplicateShown, StoreSeenAnswered, SuspicionReported
from p2pool.model.states import Reachability
from tests.sim.harness.committee import leading, voters
from tests.sim.harness.pool import Pool, formed
from tests.sim.world.machine import Machine

STILL_MS = 16_000
HINT_MS = 300


def outsider(pool: Pool) -> Machine:
    """A member without a seat."""
    return next(m for m in pool.world.machines if m.node and m.node.context.pool_log.fetches)


class Recorder:
    """What a member keeps of the others' heartbeats: when each was sent, and where its log was."""

    def __init__(self, pool: Pool, by: Machine) -> None:
        self.pool, self.by = pool, by
        self.kept: dict[int, list[tuple[int, bytes, tuple[int, int]]]] = {}
        self._listen()

    def _listen(self) -> None:
        world = self.pool.world
        for m in world.machines:
            if self.by.node is None or m is self.by:
                continue
            beat = self.by.node.context.heartbeats.newest.get(m.node_id)
            beats = self.kept.setdefault(m.number, [])
            if beat is not None and (not beats or beats[-1][1] != beat.sealed):
                at = (beat.heartbeat.term, beat.heartbeat.applied_index)
                beats.append((beat.sent_at_ms, beat.sealed, at))
        world.later(200, self._listen)

    def tail(self, number: int) -> list[tuple[int, bytes, tuple[int, int]]]:
        """The heartbeats of a voter since its log last moved."""
        beats = self.kept[number]
        return [beat for beat in beats if beat[2] == beats[-1][2]]

    def is_long(self, number: int) -> bool:
        """Whether they span as long as a proof that somebody lives needs."""
        beats = self.tail(number)
        return len(beats) >= 5 and beats[-1][0] - beats[0][0] > STILL_MS


@pytest.mark.parametrize("asked", [True, False], ids=["answers", "speaks-unasked"])
def test_a_voters_own_words_do_not_cost_it_its_seat(asked: bool) -> None:
    """All voters restart, as after a power cut, and hear what they said before."""
    pool = formed(5)
    world, liar = pool.world, outsider(pool)
    world.liars.add(liar.number)
    recorder = Recorder(pool, liar)
    seats = [world.machines[i] for i in voters(pool)]
    pool.until(lambda: all(recorder.is_long(m.number) for m in seats), 300_000)
    tails = {m.number: recorder.tail(m.number) for m in seats}
    stores = {m.number: m.store_id for m in seats}
    for m in seats:
        world.crash(m.number)
    world.run(2_000)
    for m in seats:
        world.start(m.number)

    def play(m: Machine, data: bytes) -> None:
        if m.node is None or liar.sealer is None:
            return
        check = m.node.parts.identity.store_check
        mine = [n for n, key in check.requests.items() if key == liar.peer_key]
        number = mine[-1] if asked and mine else 0
        answer = StoreSeenAnswered(number, m.node.context.pool_log.log_id, (data,))
        said = answer if number else DuplicateShown((data,))
        world.carry(liar, m, *liar.sealer.seal(said, world.now(liar)))

    for m in seats:
        first_ms = tails[m.number][0][0]
        for sent_ms, data, _ in tails[m.number]:
            world.later(sent_ms - first_ms, lambda m=m, data=data: play(m, data))  # type: ignore[misc]
    world.run(60_000)
    assert leading(pool) is not None
    assert {m.number: m.store_id for m in seats} == stores
    assert sorted(voters(pool)) == sorted(stores)


def test_a_long_hint_ends_no_leader() -> None:
    """It says at length that a node is gone which is gone: the log has room for the reason."""
    pool = formed(5)
    world, liar = pool.world, outsider(pool)
    world.liars.add(liar.number)
    gone = next(
        m for m in world.machines if m is not liar and m.node and m.node.context.pool_log.fetches
    )

    def hint() -> None:
        for m in world.machines:
            if m is not liar and m.node is not None and liar.sealer is not None:
                said = SuspicionReported(gone.node_id, "x" * 1024)
                world.carry(liar, m, *liar.sealer.seal(said, world.now(liar)))
        world.later(HINT_MS, hint)

    world.run(10_000)
    hint()
    world.crash(gone.number)

    def judged() -> bool:
        node = pool.leader().node
        assert node is not None
        state = node.context.pool_log.state
        return (
            state is not None and state.node(gone.node_id).reachability is not Reachability.HEALTHY
        )

    pool.until(judged, 120_000)
