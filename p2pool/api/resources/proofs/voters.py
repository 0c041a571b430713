"""Proofs that a stranger can check: who leads, and which voters lied."""

from bisect import bisect_left
from typing import Any

import attrs
from litestar import get
from litestar.datastructures import State

from p2pool.api.resources.context import Meta, meta_of, node_text, peer_text, port_of, view_of
from p2pool.api.resources.parameters import AfterProof, Consistent, Limit
from p2pool.codec.digests import digest
from p2pool.codec.json.hex import address_text
from p2pool.codec.json.proofs import evidence_json, proof_json, voter_json
from p2pool.model import limits
from p2pool.model.log import certificates
from p2pool.model.log.certificates import CHANGE, HISTORY, BadAppend, LeaderCertificate, LieProof
from p2pool.model.log.raft import Voter
from p2pool.model.ports.view import View
from p2pool.proofs.evidence_text import told

# --- answers ------------------------------------------------------------------------------------


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
class Leader:
    """Who leads. `node_id` null: this agent knows no leader.

    `certificate` null: no leader is certified now. `proof` holds all that leads from the chain's
    root record to that: the changes of the committee, the certificate and the votes as their
    signers sealed them (`p2pool verify leader` checks it); null: this agent follows no log.
    """

    node_id: str | None
    peer_id: str
    epoch: int
    term: int
    since_ms: int
    log_id: str | None
    certificate: Certificate | None
    proof: dict[str, Any] | None


@attrs.frozen
class LeaderAnswer:
    """Answer of `/v1/leader`."""

    meta: Meta
    leader: Leader


@attrs.frozen
class VoterName:
    """A voter by its three names."""

    node_id: str
    peer_id: str
    store_id: str


@attrs.frozen
class Evidence:
    """A voter lied; `text` tells how, and `proof` is what `p2pool verify evidence` checks.

    `kind`: what it signed. `vote`, `certificate`: two votes, or two certificates of leaders, in one
    term, for the nodes in `first_for` and `second_for`. `history`: two histories of the log at
    `index`, with the hashes in `first_hash` and `second_hash`; `change`: two committees that follow
    there, in the same way. `append`: as the leader of the term, an entry at `index` that no honest
    leader sends, for the `reason` given. What a kind does not have is null.
    """

    voter: VoterName
    log_id: str
    term: int
    kind: str
    first_for: VoterName | None
    second_for: VoterName | None
    index: int | None
    first_hash: str | None
    second_hash: str | None
    reason: str | None
    text: str
    proof: dict[str, Any]


@attrs.frozen
class EvidenceAnswer:
    """Answer of `/v1/evidence`, the latest term last. `next`: the place behind which the next page
    begins, null for the last."""

    meta: Meta
    evidence: tuple[Evidence, ...]
    next: str | None


# --- from a view to answers ---------------------------------------------------------------------


def leader_of(view: View) -> Leader:
    """Who leads."""
    seen = None if view.leader is None else view.node(view.leader)
    return Leader(
        node_id=node_text(view.leader),
        peer_id=peer_text(seen.peer_key) if seen else "",
        epoch=view.epoch,
        term=view.term,
        since_ms=view.leader_since_ms,
        log_id=None if view.log_id is None else view.log_id.hex(),
        certificate=None if view.certificate is None else certificate_of(view.certificate),
        proof=None if view.proof is None else proof_json(view.proof),
    )


def certificate_of(known: LeaderCertificate) -> Certificate:
    """What a certificate says."""
    return Certificate(
        node_id=address_text(known.leader.node_id),
        term=known.term,
        committee_hash=known.committee_hash.hex(),
        commit_index=known.commit_index,
        state_digest=known.state_digest.hex(),
        time_ms=known.time_ms,
        valid_until_ms=known.time_ms + limits.CERTIFICATE_LIFETIME_MS,
        signatures=len(known.signatures),
    )


def _place(one: LieProof) -> str:
    """The place of a proof: by term, then by what it says of whom."""
    names = (attrs.astuple(one.voter), one.kind, one.log_id, one.index)
    others = (one.first_for, one.second_for) if isinstance(one, certificates.Evidence) else ()
    hashed = digest(repr((names, [attrs.astuple(other) for other in others])).encode())
    return f"{one.term:020d}-{hashed.hex()}"


def _evidence(view: View, one: LieProof) -> Evidence:
    two = one if isinstance(one, certificates.Evidence) else None
    of_log = two if two is not None and two.kind in (HISTORY, CHANGE) else None
    nodes = two if of_log is None else None
    return Evidence(
        voter=_voter(one.voter),
        log_id=one.log_id.hex(),
        term=one.term,
        kind=one.kind,
        first_for=None if nodes is None else _voter(nodes.first_for),
        second_for=None if nodes is None else _voter(nodes.second_for),
        index=None if nodes is not None else one.index,
        first_hash=None if of_log is None else of_log.first_hash.hex(),
        second_hash=None if of_log is None else of_log.second_hash.hex(),
        reason=one.reason if isinstance(one, BadAppend) else None,
        text=told(one),
        proof=evidence_json(view.pool, one),
    )


def _voter(voter: Voter) -> VoterName:
    return VoterName(**voter_json(voter))


# --- routes -------------------------------------------------------------------------------------


@get("/v1/leader", summary="Who leads, since when, in which term, and the proof of it")
async def leader(state: State, consistent: Consistent = False) -> LeaderAnswer:
    """The leader."""
    view = await view_of(state, consistent)
    return LeaderAnswer(meta_of(view), leader_of(view))


@get("/v1/evidence", summary="Voters that provably lied: what each did, and the proof of it")
async def evidence(
    state: State, limit: Limit = limits.API_PAGE_DEFAULT, after: AfterProof = ""
) -> EvidenceAnswer:
    """Proofs against voters, the latest term last, in pages."""
    view = port_of(state).view()
    rows = sorted(view.evidence, key=lambda one: one.term)
    if after:
        places = [_place(one) for one in rows]
        # A proof that is gone: its term comes again, rather than that one is missed.
        gone = bisect_left([one.term for one in rows], int(after.partition("-")[0]))
        rows = rows[places.index(after) + 1 if after in places else gone :]
    found = rows[:limit]
    return EvidenceAnswer(
        meta_of(view),
        tuple(_evidence(view, one) for one in found),
        _place(found[-1]) if len(rows) > limit else None,
    )
