"""The records that make a committee accountable: signed statements on leaders and voters, and
proofs.

Intuition: others can rely on a voter's statement only if it is signed. A quorum's signatures over
one leader form a certificate, which expires; a quorum's signatures over the voters that succeed it
form a link, and the links make a chain from the root record to today's committee.

Only voters are certified: learners count nowhere, so a change of learners alone needs no link.
Checking all of these is `proofs.certificates`. Source: docs/design/certificates.md.
"""

from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.features import DISTRUST_LEVEL, since
from p2pool.model.field_bounds import (
    Index,
    SealedAppend,
    SealedSignature,
    SealedSignatures,
    Term,
    bounded,
)
from p2pool.model.ids import Digest, StateDigest
from p2pool.model.log.raft import Voter, Voters


@attrs.frozen
class Link:
    """One change of the voters: from the entry at `index` on they are these.

    `signatures` are sealed `ConfigurationSigned` by voters of the previous committee. `given_up`:
    the leader recorded that a quorum of them did not answer in time; more may still come later.
    """

    index: Index
    term: Term
    at_ms: int
    voters: Voters
    signatures: SealedSignatures = ()
    given_up: bool = False


@attrs.frozen
class CommitteeChain:
    """The voters of a log since its founding (or since its oldest links were dropped).

    `base` are the voters before the first link. The chain belongs to the root record's epoch; one
    of another epoch belongs to an earlier log.
    """

    epoch: int = 0
    base: Voters = ()
    links: Annotated[tuple[Link, ...], bounded(items=limits.CHAIN_LINKS_MAX)] = ()
    dropped: int = 0

    @property
    def voters(self) -> tuple[Voter, ...]:
        """The current voters."""
        return self.links[-1].voters if self.links else self.base

    def before(self, link: Link) -> tuple[Voter, ...]:
        """The voters before a link of this chain: those who can certify it."""
        at = self.links.index(link)
        return self.links[at - 1].voters if at else self.base


NO_HISTORY_SIGNED = Digest(bytes(32))
"""A statement of a pool below feature level 2 says nothing of the log's history."""


@attrs.frozen
class SignedHistory:
    """What a quorum signed of a log: it is committed up to an index, with this history."""

    index: Index
    history: Digest


@attrs.frozen
class LeaderCertificate:
    """A quorum's signed statement on who leads; `signatures` are the sealed messages themselves."""

    log_id: Digest
    term: Term
    leader: Voter
    committee_hash: Digest
    commit_index: Index
    state_digest: StateDigest
    time_ms: int
    signatures: tuple[bytes, ...] = attrs.field(repr=False)
    history: Digest = NO_HISTORY_SIGNED

    @property
    def signed_history(self) -> SignedHistory | None:
        """What it says of the log's history, if anything."""
        said = self.history != NO_HISTORY_SIGNED
        return SignedHistory(self.commit_index, self.history) if said else None


@attrs.frozen
class LeaderProof:
    """An agent's evidence for who leads, for anyone to check: believe only what verifies. `root`
    is the record as the agent has read it, for people."""

    log_id: Digest
    root: RootRecord | None
    chain: CommitteeChain
    certificate: tuple[bytes, ...] = ()
    votes: tuple[bytes, ...] = ()


VOTE, CERTIFICATE = "vote", "certificate"
HISTORY, CHANGE = "history", "change"
APPEND = "append"
"""The kinds of proof against a voter, by what it signed."""


@attrs.frozen
class Evidence:
    """A stored proof of equivocation: the voter, the log and term, and what the two messages say.

    `kind` `vote` or `certificate`: they are for two candidates or two leaders. `history`, `change`:
    they name two histories of the log at `index`, or two committees that follow there, by their
    hashes, and are for nobody: both names are the voter's own, and `term` is the later one.
    """

    log_id: Digest
    term: Term
    voter: Voter
    kind: str
    first_for: Voter
    second_for: Voter
    first: SealedSignature = attrs.field(repr=False)
    second: SealedSignature = attrs.field(repr=False)
    index: Index = since(DISTRUST_LEVEL, default=0)
    first_hash: Digest = since(DISTRUST_LEVEL, default=NO_HISTORY_SIGNED)
    second_hash: Digest = since(DISTRUST_LEVEL, default=NO_HISTORY_SIGNED)


@attrs.frozen
class BadAppend:
    """A stored proof that a leader lied: its sealed append, the entry in it that no honest leader
    writes and why; if it takes that, its own word on its committee (`BadAppendProven`), and the
    voters of whom that word gives the hash."""

    log_id: Digest
    term: Term
    voter: Voter
    index: Index
    reason: str
    frame: SealedAppend = attrs.field(repr=False)
    word: SealedSignature = attrs.field(repr=False)
    committee: Voters = ()

    @property
    def kind(self) -> str:
        """As that of `Evidence`."""
        return APPEND


LieProof = Evidence | BadAppend
"""A proof that a voter lied, of either kind."""
