"""What a node says of the end of its log stays true when the beginning is compacted away."""

import pytest

from p2pool.core.log.epoch_recovery import StoredLog
from p2pool.model import limits
from tests.sim.harness.pool import formed


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
        digests.add((held.end_digest(), state.digest()))
    ((told, own),) = digests
    assert told == own
