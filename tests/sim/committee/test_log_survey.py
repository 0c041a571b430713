"""What a node says of the end of its log stays true when the beginning is compacted away."""

import pytest

from p2pool.codec.entries import encode_body
from p2pool.core.fsm.storage.rows import digest_of
from p2pool.core.log.epoch_recovery import StoredLog
from p2pool.core.node_status import NodeStatus
from p2pool.model import limits
from p2pool.model.log.entries import LevelRaised
from tests.codec.next_version import NEXT_LEVEL, next_version
from tests.sim.harness.pool import formed

pytestmark = pytest.mark.usefixtures("as_first_version")


def test_a_compacted_log_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The snapshot covers entries that are kept: they are not applied to it once more."""
    monkeypatch.setattr(limits, "SNAPSHOT_AFTER_ENTRIES", 30)
    monkeypatch.setattr(limits, "SNAPSHOT_KEEP_ENTRIES", 12)
    pool = formed()
    for _ in range(12):
        pool.reply(pool.run_request(0))
        pool.world.run(1_000)
    pool.world.run(10_000)
    digests = set()
    for number in range(3):
        held = pool.node(number).context.pool_log.held_log
        assert isinstance(held, StoredLog)
        s, state = held.raft.state, held.state
        assert s.snapshot is not None
        assert 0 < s.log.base_index < s.snapshot_index, "the snapshot reaches past the base"
        assert held.state_at(s.log.base_index) is None
        beyond = held.state_at(s.snapshot_index)
        assert beyond is not None
        assert beyond.applied_index == s.snapshot_index
        assert s.log.last_index == state.applied_index
        digests.add((held.end_digest(), digest_of(state)))
    ((told, own),) = digests
    assert told == own


def test_who_is_too_old_for_its_log_cannot_say_which_state_is_at_its_end() -> None:
    """The length is told all the same. It refuses what it cannot read, until a quorum vouches for
    it: one leader's word ends no agent."""
    pool = formed()
    pool.world.expected = (*pool.world.expected, "a leader's entries are refused")
    leader, old = pool.leader().node, pool.other().node
    assert leader is not None
    assert old is not None
    with next_version():
        for machine in pool.world.machines:
            if machine.node is not None and machine.node is not old:
                machine.node.context.pool_log.newest_level = NEXT_LEVEL
        leader.context.pool_log.propose(
            *encode_body(LevelRaised(NEXT_LEVEL, "0.3.0")), pool.world.now()
        )
        pool.until(lambda: old.context.status.value is NodeStatus.TOO_OLD, 180_000)
    mine = old.parts.log_survey.mine()
    assert mine.state_digest is None
    assert mine.last_index >= old.context.pool_log.applied_index + 1
