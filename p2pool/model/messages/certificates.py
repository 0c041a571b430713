"""Messages about certificates: signatures, and the chain of committees."""

import attrs

from p2pool.model.features import DISTRUST_LEVEL, since
from p2pool.model.field_bounds import Index, SealedAppend, SealedSignature, SealedSignatures, Term
from p2pool.model.ids import Digest, StateDigest
from p2pool.model.log.certificates import CommitteeChain
from p2pool.model.log.raft import Voter
from p2pool.model.messages.registry import Channel, Message, Senders, message


@message(17, Channel.RAFT, version=2)
@attrs.frozen
class CertificateSigned(Message):
    """A voter confirms a leader: at `commit_index` of its term the state has this digest.

    `committee_hash` is that of the voters in force at that index. `time_ms` is the leader's clock;
    a voter signs it only if its own clock agrees. `history`: that of the log at that index.
    """

    log_id: Digest
    term: Term
    leader: Voter
    voter: Voter
    committee_hash: Digest
    commit_index: Index
    state_digest: StateDigest
    time_ms: int
    history: Digest = since(DISTRUST_LEVEL, default=Digest(bytes(32)))


@message(18, Channel.RAFT, senders=Senders.CERTIFIERS)
@attrs.frozen
class ConfigurationSigned(Message):
    """A voter of the previous committee confirms the next one: the entry at `index`, of `term`,
    is committed and gives the log these voters."""

    log_id: Digest
    index: Index
    term: Term
    previous_hash: Digest
    new_hash: Digest
    voter: Voter


@message(19, Channel.RAFT, since=DISTRUST_LEVEL)
@attrs.frozen
class HistorySigned(Message):
    """A voter confirms that the log is committed up to an index, with this history: the hash over
    all entries up to there. `term`: the one that it is in."""

    log_id: Digest
    term: Term
    voter: Voter
    index: Index
    history: Digest


@message(24, Channel.RAFT, since=DISTRUST_LEVEL)
@attrs.frozen
class HistoryRequested(Message):
    """A leader asks its voters for the history at an index, which they sign once it is committed
    there."""

    log_id: Digest
    term: Term
    index: Index


@message(4, Channel.ANNOUNCE, senders=Senders.GOSSIP)
@attrs.frozen
class EquivocationProven(Message):
    """Two sealed messages by one voter, of which an honest voter signs at most one (gossip)."""

    first: SealedSignature
    second: SealedSignature


@message(5, Channel.ANNOUNCE, senders=Senders.GOSSIP, since=2)
@attrs.frozen
class BadAppendProven(Message):
    """A sealed append that no honest leader sends (gossip). `word`: the leader's own
    `CertificateSigned` of that term, if it takes that to see it; else empty."""

    frame: SealedAppend
    word: SealedSignature


@message(50, Channel.QUERY, senders=Senders.GUESTS)
@attrs.frozen
class CertificatesRequested(Message):
    """Asks a peer for the committee's certificates that it holds; anybody may ask."""

    request: int


@message(51, Channel.QUERY, answers=(CertificatesRequested,))
@attrs.frozen
class CertificatesAnswered(Message):
    """The chain, the latest leader certificate, and the votes that elected its leader."""

    request: int
    log_id: Digest
    chain: CommitteeChain
    certificate: SealedSignatures
    votes: SealedSignatures
