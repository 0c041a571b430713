"""A leader's question to its voters in the log, and the state that they confirm there.

Intuition: every replica applies the question at the same index, so each takes the digest of the
same state. A voter signs its own digest; a node with another digest there holds another log.
"""

import attrs

from p2pool.codec.entries import decode_body
from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.storage.rows import digest_of
from p2pool.model.errors import Malformed
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import Digest, StateDigest
from p2pool.model.log.certificates import NO_HISTORY_SIGNED, CommitteeChain
from p2pool.model.log.entries import Certify
from p2pool.model.log.raft import Entry, Voter


@attrs.frozen
class CertificationPoint:
    """A leader's question that this node applied, with the state to confirm."""

    index: int
    term: int
    asked: Certify
    voters: tuple[Voter, ...]
    state_digest: StateDigest
    history: Digest = NO_HISTORY_SIGNED


def point_of(entry: Entry, state: PoolState, chain: CommitteeChain) -> list[CertificationPoint]:
    """The point that a `Certify` entry marks, taken before the state goes on; none if its body is
    malformed."""
    try:
        asked = decode_body(entry.kind, entry.body, state.level)
    except Malformed:
        return []
    assert isinstance(asked, Certify)
    return [
        CertificationPoint(
            index=entry.index,
            term=entry.term,
            asked=asked,
            voters=chain.voters,
            state_digest=digest_of(state),
            history=state.history if state.level >= DISTRUST_LEVEL else NO_HISTORY_SIGNED,
        )
    ]
