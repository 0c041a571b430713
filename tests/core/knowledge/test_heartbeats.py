"""Heartbeats are sent often enough and not too often, and only the newest of each node counts."""

from random import Random

import attrs
from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec.digests import hardware_digest
from p2pool.core.knowledge.heartbeats import Heartbeats
from p2pool.model import limits
from p2pool.model.ids import ZERO_TOKEN, AllocationId, Digest, NodeId, PeerKey, StoreId, TaskId
from p2pool.model.machine.hardware import FreeResources, Hardware, Load
from p2pool.model.messages.gossip import AllocationStatus, Heartbeat
from p2pool.model.messages.registry import Channel, Header, Verified
from p2pool.model.states import AllocationState, Intent, RaftRole
from p2pool.model.timing import Now

HARDWARE = Hardware("cpu", 4000, 1 << 30, 1 << 33)
NODE = NodeId(b"n" * 20)


def at(ms: int) -> Now:
    return Now(ms, 1_700_000_000_000 + ms)


def beat(
    digest: bytes = hardware_digest(HARDWARE), hardware: Hardware | None = HARDWARE
) -> Heartbeat:
    return Heartbeat(
        "0.1.0",
        (),
        StoreId(b"s" * 16),
        Intent.ELIGIBLE,
        RaftRole.IDLE,
        None,
        1,
        1,
        5,
        Digest(digest),
        hardware,
        FreeResources(1, 1, 1, 0),
        (),
        Load(),
        True,
        "",
    )


def verified(sequence: int, message: Heartbeat, incarnation: int = 1) -> Verified:
    header = Header(NODE, PeerKey(b"p" * 32), incarnation, sequence, 0)
    return Verified(header, Channel.BEAT, message, b"sealed")


def test_the_first_heartbeat_is_due_at_once_and_carries_the_hardware() -> None:
    """A newcomer tells everything; what follows leaves out the record that did not change."""
    beats = Heartbeats(Random(1))
    first = beats.take_due(beat(), 3, at(0))
    assert first is not None
    assert first.hardware == HARDWARE
    second = beats.take_due(beat(), 3, at(limits.HEARTBEAT_MIN_INTERVAL_MS))
    assert second is not None
    assert second.hardware is None


@given(members=st.integers(1, 10_000), seed=st.integers(0, 1000))
def test_the_interval_grows_with_the_roster_with_a_tenth_of_jitter(members: int, seed: int) -> None:
    """Without a change the next heartbeat comes within the last tenth of the interval."""
    beats = Heartbeats(Random(seed))
    beats.take_due(beat(), members, at(0))
    interval_ms = max(5_000, members * 50)
    assert interval_ms * 9 // 10 - 1 <= beats.wakeup_ms() <= interval_ms


def test_a_change_is_told_soon_but_not_more_than_once_a_second() -> None:
    """Load and the applied index are no change; an allocation or the leader is."""
    beats = Heartbeats(Random(1))
    beats.take_due(beat(), 3, at(0))
    beats.offer(attrs.evolve(beat(), load=Load(500, 500), applied_index=9))
    assert beats.take_due(beat(), 3, at(1_500)) is None
    changed = attrs.evolve(beat(), leader=NODE)
    beats.offer(changed)
    assert beats.take_due(changed, 3, at(limits.HEARTBEAT_CHANGE_INTERVAL_MS - 1)) is None
    assert beats.take_due(changed, 3, at(limits.HEARTBEAT_CHANGE_INTERVAL_MS)) is not None


def test_only_a_newer_heartbeat_counts() -> None:
    """Late and repeated ones are dropped; a new incarnation begins anew."""
    beats = Heartbeats(Random(1))
    assert beats.hear(verified(5, beat()), at(0))
    assert not beats.hear(verified(5, beat()), at(1))
    assert not beats.hear(verified(4, beat()), at(2))
    assert beats.hear(verified(0, beat(), incarnation=2), at(3))


def test_a_hardware_record_counts_only_for_its_own_digest() -> None:
    """A digest without its record means that the record has to be asked for."""
    beats = Heartbeats(Random(1))
    beats.hear(verified(1, beat()), at(0))
    assert beats.hardware_of(NODE) == HARDWARE
    beats.hear(verified(2, beat(b"e" * 32, None)), at(1))
    assert beats.lacks_hardware(NODE)
    assert not beats.take_hardware(NODE, HARDWARE)
    beats.hear(verified(3, beat(b"e" * 32, HARDWARE)), at(2))
    assert beats.lacks_hardware(NODE)
    beats.hear(verified(4, beat(hardware=None)), at(3))
    assert beats.take_hardware(NODE, HARDWARE)
    assert beats.hardware_of(NODE) == HARDWARE


def test_a_pull_is_told_by_the_tenth() -> None:
    """A large image costs the pool ten heartbeats at most, however often its progress changes."""
    beats = Heartbeats(Random(5))
    allocation = AllocationId(TaskId(b"t" * 16), 0)
    told = 0
    for percent in range(101):
        status = AllocationStatus(
            allocation,
            1,
            AllocationState.PULLING,
            ZERO_TOKEN,
            pulled_bytes=percent,
            pull_total_bytes=100,
        )
        content = attrs.evolve(beat(), allocations=(status,))
        beats.offer(content)
        if beats.changed:
            told += 1
            beats.sent_content, beats.changed = content, False
    assert told == 11
