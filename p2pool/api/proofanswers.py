"""What the API answers of certificates and proofs, as attrs classes of plain values."""

from typing import Any

import attrs


@attrs.frozen
class Certificate:
    """A quorum of the committee's signed word that a node leads, good until `valid_until_ms`."""

    node_id: str
    term: int
    committee_hash: str
    commit_index: int
    state_digest: str
    time_ms: int
    valid_until_ms: int
    signatures: int


@attrs.frozen
class VoterName:
    """A voter by its three names."""

    node_id: str
    peer_id: str
    store_id: str


@attrs.frozen
class Evidence:
    """A voter signed for two in one term; `proof` is what `p2pool verify evidence` checks."""

    voter: VoterName
    log_id: str
    term: int
    kind: str
    first_for: VoterName
    second_for: VoterName
    proof: dict[str, Any]
