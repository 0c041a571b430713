"""Whether a received snapshot holds a usable state: checked before anything of it is kept.

Intuition: an agent trusts its disk at each start, so a peer's bytes that hold no state, another
pool's state or one that no log leads to (`core.fsm.storage.soundness`) would crash it again and
again.

Its learners are the giver's word, whoever certified the state: no digest covers them. So a snapshot
gives the node that fetched it no seat; only an entry does.

This does not check whether the state is the true one: that takes somebody's word for its digest.
"""

import attrs

from p2pool.codec.entries import decode_snapshot, encode_snapshot
from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.storage.soundness import flaw
from p2pool.core.log.level_check import readable_state
from p2pool.model.errors import Refusal
from p2pool.model.features import FeatureLevel
from p2pool.model.ids import PoolRef
from p2pool.model.log.raft import Snapshot, Voter


def readable(data: bytes, pool: PoolRef, epoch: int, newest: FeatureLevel) -> PoolState | None:
    """The state in bytes that are such a snapshot, else None; `TooOld` as for `state_in`."""
    try:
        return state_in(decode_snapshot(data), pool, epoch, newest)
    except Refusal:
        return None


def without_seat(data: bytes, me: Voter) -> bytes:
    """A readable snapshot in which this participant does not learn."""
    snapshot = decode_snapshot(data)
    group = snapshot.configuration
    if me not in group.learners:
        return data
    group = attrs.evolve(group, learners=tuple(v for v in group.learners if v != me))
    return encode_snapshot(attrs.evolve(snapshot, configuration=group))


def state_in(
    snapshot: Snapshot, pool: PoolRef, epoch: int, newest: FeatureLevel
) -> PoolState | None:
    """The state in a snapshot of this pool's log, if it matches the snapshot's index, term, date
    and committee; else None. `TooOld` if a newer program seems to have written it."""
    try:
        state = readable_state(snapshot.state, newest)
    except Refusal:
        return None
    chain, configuration = state.chain, snapshot.configuration
    is_of = (state.pool, state.epoch, chain.epoch) == (pool, epoch, epoch)
    at = (state.applied_index, state.applied_term) == (snapshot.index, snapshot.term)
    # What is dated in the future would date all that follows.
    dated = snapshot.last_proposed_at_ms <= state.log_time_ms
    seated = configuration.flaw is None and chain.voters == configuration.settled
    return state if is_of and at and dated and seated and flaw(state) is None else None
