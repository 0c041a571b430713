"""Verifies who leads, from the chain and signatures alone, and states in sentences what that
proves.

Intuition: the root record on the chain names the founder. A quorum of the voters before each change
signed it; a quorum of today's voters signed who leads. So anyone who trusts the chain and none of
the agents can walk from the one to the other, and needs an agent only to hand over the signatures.

Invariants: an agent's words count only as far as they verify; a link without a quorum breaks the
walk, since anybody could have written it, unless the caller trusts a later committee by its hash on
other grounds; what could not be shown is said.
Source: docs/design/certificates.md, "What an outsider can check".
"""

from collections.abc import Sequence

import attrs

from p2pool.codec.digests import committee_hash, log_id
from p2pool.codec.json.hex import address_text
from p2pool.model import limits
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import BadSignature, NotForUs, Refusal, Stale, Unavailable
from p2pool.model.ids import Digest, PoolRef
from p2pool.model.log.certificates import CommitteeChain, LeaderCertificate, LeaderProof
from p2pool.model.log.raft import Voter
from p2pool.model.messages.registry import Verified
from p2pool.proofs.certificates import (
    check_fresh,
    leader_certificate,
    quorum_of,
    votes_for,
)
from p2pool.proofs.committee_walk import Uncertified, walk_links
from p2pool.wire.enclosures import open_one

PROVES = (
    "That proves: a majority of the committee, which goes back to the root record on the chain "
    "change by change, confirmed this leader, this term and this state at that time.",
)
DOES_NOT = (
    "It does not prove that the voters are honest: the log is crash-fault tolerant, so voters that "
    "lie together can stop it or fork it (`p2pool pool evidence` shows the proven cases).",
    "It does not prove that nobody leads since: a leader's certificate is valid for "
    f"{limits.CERTIFICATE_LIFETIME_MS // 60_000} minutes, and within them another may be elected.",
)


@attrs.frozen
class LeaderVerdict:
    """Who leads, by proof, and all findings on the way, in sentences."""

    certificate: LeaderCertificate
    voters: tuple[Voter, ...]
    votes: int
    sentences: tuple[str, ...]


@attrs.define
class _Walk:
    """A walk along one proof."""

    pool: PoolRef
    proof: LeaderProof
    said: list[str] = attrs.field(factory=list)

    def open(self, sealed: Sequence[bytes]) -> tuple[Verified | None, ...]:
        return tuple(open_one(self.pool, one) for one in sealed)

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def verify_leader(
    pool: PoolRef, root: RootRecord, proof: LeaderProof, wall_ms: int, trusted: Digest | None = None
) -> LeaderVerdict:
    """Check a proof against the chain's root record.

    `trusted`: the hash of a committee that the caller trusts on other grounds: the walk may begin
    there. Raises `Refusal` if the proof does not hold, and `Unavailable` if it lacks its
    certificate or is too old; asking again may help then.
    """
    walk = _Walk(pool, proof)
    name = log_id(pool, root)
    if proof.log_id != name:
        raise NotForUs(
            f"The agent follows log {proof.log_id.hex()[:16]}, but the chain's root record founds "
            f"log {name.hex()[:16]}.",
            hint="Ask an agent that has read the chain's latest finalized blocks.",
        )
    walk.say(
        f"The root record of epoch {root.epoch}, read from the chain, founds log "
        f"{name.hex()[:16]} with node {address_text(root.founder)} as its first voter."
    )
    voters = _walk_chain(walk, root, trusted)
    if not proof.certificate:
        raise Unavailable(
            "The agent holds no leader certificate in force: nobody is proven to lead.",
            hint="Ask again in a few seconds, or ask another agent.",
        )
    found = leader_certificate(walk.open(proof.certificate), voters, name)
    _say_leader(walk, found, voters, wall_ms)
    votes = _count_votes(walk, found, voters)
    try:
        check_fresh(found.time_ms, wall_ms)
    except Stale as error:
        raise Unavailable(error.message, hint=error.hint) from error
    walk.said += [*PROVES, *DOES_NOT]
    return LeaderVerdict(found, voters, votes, tuple(walk.said))


def _walk_chain(walk: _Walk, root: RootRecord, trusted: Digest | None) -> tuple[Voter, ...]:
    """Today's voters, each change checked from the root (or from the trusted committee) on."""
    chain = walk.proof.chain
    start = _start(walk, chain, root, trusted)
    begun = chain.links[start - 1].voters if start else chain.base
    opened = (walk.open(link.signatures) for link in chain.links[start:])
    try:
        voters = [begun, *walk_links(chain, start, opened, walk.proof.log_id)][-1]
    except Uncertified as error:
        raise BadSignature(_uncertified(error)) from error
    count = len(chain.links) - start
    if count:
        walk.say(
            f"The voters changed {count} time{'' if count == 1 else 's'} since; each change is "
            "signed by a majority of the voters before it."
        )
    else:
        walk.say("The voters have not changed since.")
    return voters


def _start(walk: _Walk, chain: CommitteeChain, root: RootRecord, trusted: Digest | None) -> int:
    """The number of links before the walk begins."""
    if trusted is not None:
        groups = [chain.base, *(link.voters for link in chain.links)]
        # The last match: the same committee may have existed before.
        for at in range(len(groups) - 1, -1, -1):
            if committee_hash(groups[at]) == trusted:
                walk.say(
                    f"The committee {trusted.hex()[:16]} is trusted because you name it: earlier "
                    "changes are not checked."
                )
                return at
        raise NotForUs(f"The committee {trusted.hex()[:16]} is not in the agent's chain.")
    if chain.dropped:
        raise BadSignature(
            f"The agent no longer keeps the {chain.dropped} oldest changes of the committee, so "
            "there is no way back to the root record.",
            hint="Name a committee that you trust: --trust HASH.",
        )
    if chain.base != (Voter(root.founder, root.peer_key, root.store_id),):
        raise NotForUs("The agent's chain does not begin with the founder on the chain.")
    return 0


def _uncertified(error: Uncertified) -> str:
    link, before, signers = error.link, error.before, error.signers
    silent = ", ".join(address_text(v.node_id) for v in before if v not in signers)
    why = (
        "the others did not answer in time, and the leader went on without them"
        if link.given_up
        else "it is not certified yet"
    )
    return (
        f"Change {error.number} of the committee (index {link.index}) is uncertified: "
        f"{len(signers)} of {len(before)} voters before it signed, {quorum_of(before)} are needed; "
        f"{why}. Not signed by {silent}. The chain does not prove who leads since. If you "
        "know on other grounds that the change was right: "
        f"--trust {committee_hash(link.voters).hex()}"
    )


def _say_leader(
    walk: _Walk, found: LeaderCertificate, voters: Sequence[Voter], wall_ms: int
) -> None:
    age_s = (wall_ms - found.time_ms) // 1000
    walk.say(
        f"{len(found.signatures)} of the {len(voters)} voters signed that node "
        f"{address_text(found.leader.node_id)} leads in term {found.term}: {age_s} s ago, at index "
        f"{found.commit_index}, with state {found.state_digest.hex()[:16]}. Their committee "
        f"has the hash {found.committee_hash.hex()}."
    )


def _count_votes(walk: _Walk, found: LeaderCertificate, voters: Sequence[Voter]) -> int:
    """How many of the votes that elected it are shown; they are optional, so a lack is only
    said."""
    try:
        opened = walk.open(walk.proof.votes)
        count = votes_for(opened, voters, found.log_id, found.term, found.leader)
    except Refusal as error:
        walk.say(f"The votes that elected it are not shown ({error.message}).")
        return 0
    if count:
        walk.say(f"{count} of the votes that elected it are shown, and they are valid.")
    else:
        walk.say("The votes that elected it are not shown.")
    return count
