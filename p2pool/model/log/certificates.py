"""What makes a committee accountable: signed words on who leads and who votes, and proofs.

Intuition: a voter's word is worth something to others only when it is signed. A quorum's signed
words over one leader are a certificate, which expires; a quorum's signed words over the voters that
follow on them are a link, and the links make a chain from the root record to today's committee.

Only voters are certified: learners count nowhere, so a change of learners alone needs no link.
Checking all of these is `proofs.certificates`. Source: docs/design/certificates.md.
"""

from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.field_bounds import SealedSignature, SealedSignatures, bounded
from p2pool.model.ids import Digest, StateDigest
from p2pool.model.log.raft import Voter, Voters


@attrs.frozen
class Link:
    """One change of the voters: since the entry at `index` they are these.

    `signatures` are sealed `ConfigurationSigned` by voters of the committee before. `given_up`: the
    leader wrote down that a quorum of them did not answer in time; more may still come later.
    """

    index: int
    term: int
    at_ms: int
    voters: Voters
    signatures: SealedSignatures = ()
    given_up: bool = False


@attrs.frozen
class CommitteeChain:
    """The voters of a log since its founding (or since its oldest links were dropped).

    `base` are the voters before the first link. Of the root record's epoch; one of another epoch
    is a log's that went before.
    """

    epoch: int = 0
    base: Voters = ()
    links: Annotated[tuple[Link, ...], bounded(items=limits.CHAIN_LINKS_MAX)] = ()
    dropped: int = 0

    @property
    def voters(self) -> tuple[Voter, ...]:
        """The voters now."""
        return self.links[-1].voters if self.links else self.base

    def before(self, link: Link) -> tuple[Voter, ...]:
        """The voters before a link of this chain: those who can certify it."""
        at = self.links.index(link)
        return self.links[at - 1].voters if at else self.base


@attrs.frozen
class LeaderCertificate:
    """A quorum's signed word on who leads; `signatures` are the sealed messages themselves."""

    log_id: Digest
    term: int
    leader: Voter
    committee_hash: Digest
    commit_index: int
    state_digest: StateDigest
    time_ms: int
    signatures: tuple[bytes, ...] = attrs.field(repr=False)


@attrs.frozen
class LeaderProof:
    """All that an agent shows of who leads, for whoever checks it: nothing of it is to be believed
    but what verifies. `root` is the record as the agent has read it, for people."""

    log_id: Digest
    root: RootRecord | None
    chain: CommitteeChain
    certificate: tuple[bytes, ...] = ()
    votes: tuple[bytes, ...] = ()


@attrs.frozen
class Evidence:
    """A proof of equivocation as it is kept: who, where, for whom and for whom else."""

    log_id: Digest
    term: int
    voter: Voter
    kind: str
    first_for: Voter
    second_for: Voter
    first: SealedSignature = attrs.field(repr=False)
    second: SealedSignature = attrs.field(repr=False)
