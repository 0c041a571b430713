"""The committee's chain in the replicated state: each change of the voters, and who signed it.

Intuition: the log changes the voters, and outsiders must be able to check that. The voters before a
change sign it once it is committed; the leader writes their signatures into the log, so that every
replica and every later leader has them. The root record certifies the founder, which needs no link.

Invariants: a link *closes* when a quorum of the previous voters has signed it, or when the leader
records that it waited long enough (`given_up`); until then the voters do not change again. From
feature level 2 on it is given up only once log time has passed the deadline, whoever says so. One
that was given up can still complete later, and never loses signatures. The chain keeps at most
`limits.CHAIN_LINKS_MAX` links: it drops the oldest and counts them, because nobody can then walk
back to the root record from here, and verification says so.

The core has no curves, so applying verifies no signature: the leader checks what it writes, voters
check it before they append it (`unsigned`, with what the agent opens messages by), and outsiders
check what they get. From feature level 2 on a signature counts by its voter, not by its number, so
one that is none can never take another's place.
Source: docs/design/certificates.md, "The chain of committees".
"""

import attrs

from p2pool.codec.cbor import canonical
from p2pool.codec.digests import committee_hash
from p2pool.codec.payloads import payload_of
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.ids import Digest
from p2pool.model.log.certificates import CommitteeChain, Link
from p2pool.model.log.entries import ChangeCertified
from p2pool.model.log.raft import Voter
from p2pool.model.messages.certificates import ConfigurationSigned
from p2pool.proofs.certificates import Opener, quorum_of, said_by


def extended(
    chain: CommitteeChain, epoch: int, voters: tuple[Voter, ...], index: int, term: int, at_ms: int
) -> CommitteeChain:
    """The chain after a configuration entry; unchanged if the voters stay."""
    if chain.epoch != epoch:
        return CommitteeChain(epoch, voters)
    if chain.voters == voters:
        return chain
    links = (*chain.links, Link(index, term, at_ms, voters))
    return newest(attrs.evolve(chain, links=links), limits.CHAIN_LINKS_MAX)


def newest(chain: CommitteeChain, most: int) -> CommitteeChain:
    """The chain with only its newest links, the others counted as dropped."""
    over = len(chain.links) - most
    if over <= 0:
        return chain
    base = chain.links[over - 1].voters
    return CommitteeChain(chain.epoch, base, chain.links[over:], chain.dropped + over)


def unsigned(record: ChangeCertified, log_id: Digest, opens: Opener) -> str | None:
    """Why a record has no place in the log: a signature in it is none, or another change's."""
    voters: dict[Voter, None] = {}
    for sealed in record.signatures:
        verified = opens(sealed)
        if verified is None or not isinstance(verified.message, ConfigurationSigned):
            return "a signature in it does not verify"
        message = verified.message
        if (message.log_id, message.index) != (log_id, record.index):
            return "a signature in it is for another change of the committee"
        if not said_by(verified, message.voter) or message.voter in voters:
            return "a signature in it is not its voter's own, or is there twice"
        voters[message.voter] = None
    return None


def gives_up_early(chain: CommitteeChain, record: ChangeCertified, at_ms: int) -> bool:
    """Whether a record would close a link of this chain before a quorum has signed it, and before
    the voters had the time that they are given. `at_ms`: the date of the record's entry."""
    link = next((one for one in chain.links if one.index == record.index), None)
    if link is None or _waited_enough(link, at_ms):
        return False
    before = chain.before(link)
    signers = {v for s in record.signatures if (v := _signer(s, link, before)) is not None}
    return len(signers) < quorum_of(before)


def _waited_enough(link: Link, at_ms: int) -> bool:
    return at_ms - link.at_ms >= limits.VOTER_REPLACE_AFTER_MS


def merged(chain: CommitteeChain, record: ChangeCertified, at_ms: int) -> CommitteeChain:
    """The chain after a record of signatures, each counted by its voter; see `certified`. `at_ms`:
    the log time of the record, before which nothing is given up."""
    for at, link in enumerate(chain.links):
        if link.index != record.index:
            continue
        before = chain.before(link)
        signed = {v: s for s in link.signatures if (v := _signer(s, link, before)) is not None}
        count = len(signed)
        for sealed in record.signatures:
            voter = _signer(sealed, link, before)
            if voter is not None:
                signed.setdefault(voter, sealed)
        enough = len(signed) >= quorum_of(before)
        given_up = link.given_up or (open_link(chain) == link and _waited_enough(link, at_ms))
        waits = given_up and not link.given_up
        if complete(chain, link) or not (enough or waits or len(signed) > count):
            return chain
        given_up = given_up and not enough
        new = attrs.evolve(link, signatures=tuple(signed.values()), given_up=given_up)
        return attrs.evolve(chain, links=(*chain.links[:at], new, *chain.links[at + 1 :]))
    return chain


def _signer(sealed: bytes, link: Link, before: tuple[Voter, ...]) -> Voter | None:
    """The voter that a signature over this link names, if it names one from before."""
    try:
        envelope = canonical.decode(sealed)
        if not isinstance(envelope, list) or len(envelope) != 4 or type(envelope[2]) is not bytes:
            return None
        message = payload_of(canonical.decode(envelope[2]), kept=True).message
    except Malformed:
        return None
    if not isinstance(message, ConfigurationSigned) or message.voter not in before:
        return None
    hashes = committee_hash(before), committee_hash(link.voters)
    found = (message.index, message.term, message.previous_hash, message.new_hash)
    return message.voter if found == (link.index, link.term, *hashes) else None


def certified(chain: CommitteeChain, record: ChangeCertified) -> CommitteeChain:
    """The chain after a record of signatures, below feature level 2; a record that adds nothing
    changes nothing."""
    for at, link in enumerate(chain.links):
        if link.index != record.index:
            continue
        enough = len(record.signatures) >= quorum_of(chain.before(link))
        if complete(chain, link) or not (enough or open_link(chain) == link):
            return chain
        more = max(link.signatures, record.signatures, key=len)
        new = attrs.evolve(link, signatures=more, given_up=not enough)
        return attrs.evolve(chain, links=(*chain.links[:at], new, *chain.links[at + 1 :]))
    return chain


def complete(chain: CommitteeChain, link: Link) -> bool:
    """Whether a quorum of the voters before a link has signed it."""
    return len(link.signatures) >= quorum_of(chain.before(link))


def open_link(chain: CommitteeChain) -> Link | None:
    """The link that waits for its quorum, if any: always the last."""
    last = chain.links[-1] if chain.links else None
    if last is None or last.given_up or complete(chain, last):
        return None
    return last


def incomplete(chain: CommitteeChain) -> tuple[Link, ...]:
    """The newest links that lack a quorum, given up or not: those to collect signatures for."""
    lacking = [link for link in chain.links if not complete(chain, link)]
    return tuple(lacking[-limits.RECENT_LINKS_SIGNED_MAX :])
