"""Pure checks of signed statements by voters: certificates, links, votes and equivocation.

Intuition: whoever opens a sealed message knows which key signed it. The checks here ask whether
that key is a voter's, whether enough voters said the same, and whether it is for this log, this
term and this time. A node before it obeys, a leader that collects signatures, and an outsider who
trusts nothing but the chain all run the same checks.

Invariants: a signature counts for one whole voter only (node id, peer key and store id), and each
voter counts once; a quorum says the same thing, to the last field; whatever fails is refused with a
sentence, by `Refusal`. Nothing here needs a curve: messages were opened before (`wire.enclosures`).
Source: docs/design/certificates.md; PBFT's certificates, Tendermint's evidence.
"""

from collections.abc import Callable, Sequence

import attrs

from p2pool.codec.digests import committee_hash
from p2pool.model import limits
from p2pool.model.errors import BadSignature, Malformed, NotForUs, Stale
from p2pool.model.ids import Digest
from p2pool.model.log.certificates import (
    CERTIFICATE,
    CHANGE,
    HISTORY,
    NO_HISTORY_SIGNED,
    VOTE,
    Evidence,
    LeaderCertificate,
    Link,
    SignedHistory,
)
from p2pool.model.log.raft import Voter, majority
from p2pool.model.messages.certificates import CertificateSigned, ConfigurationSigned, HistorySigned
from p2pool.model.messages.raft import TimeoutNow, VoteAnswered
from p2pool.model.messages.registry import Verified

Opener = Callable[[bytes], Verified | None]
"""Opens a sealed message; None if its signature does not verify for this pool."""

Opened = Sequence[Verified | None]
"""Sealed messages after opening; None for each invalid one."""

OF_LOG = (HistorySigned, CertificateSigned, ConfigurationSigned)
"""What says something of the log at an index."""


def quorum_of(voters: Sequence[Voter]) -> int:
    """The number of voters that make a majority."""
    return majority(len(voters))


def said_by(verified: Verified, voter: Voter) -> bool:
    """Whether exactly this voter's node and key signed a message."""
    header = verified.header
    return (header.node_id, header.peer_key) == (voter.node_id, voter.peer_key)


def _signers(opened: Opened, kind: type, voters: Sequence[Voter], log_id: Digest) -> list[Verified]:
    """The messages, each from a different voter, for this log; any other raises a refusal."""
    known = dict.fromkeys(voters)
    found: dict[Voter, Verified] = {}
    for verified in opened:
        if verified is None:
            raise BadSignature("A signature in it does not verify for this pool.")
        message = verified.message
        if not isinstance(message, kind):
            raise Malformed(f"It contains a {type(message).__name__} instead of a {kind.__name__}.")
        assert isinstance(message, CertificateSigned | ConfigurationSigned | VoteAnswered)
        if message.log_id != log_id:
            raise NotForUs("It belongs to another log of this pool.")
        if message.voter not in known:
            raise BadSignature("A signer is not a voter of that committee.")
        if not said_by(verified, message.voter):
            raise BadSignature("It names a voter that did not sign it.")
        if message.voter in found:
            raise Malformed("One voter signed it twice.")
        found[message.voter] = verified
    return list(found.values())


def _enough(count: int, voters: Sequence[Voter]) -> None:
    if not voters or count < quorum_of(voters):
        raise BadSignature(
            f"{count} of {len(voters)} voters signed it; {quorum_of(voters)} are needed."
        )


# --- who leads ----------------------------------------------------------------------------------


def leader_certificate(
    opened: Opened, voters: Sequence[Voter], log_id: Digest
) -> LeaderCertificate:
    """The certificate that a quorum of these voters signed; `check_fresh` judges its age."""
    signed = _signers(opened, CertificateSigned, voters, log_id)
    _enough(len(signed), voters)
    words = [v.message for v in signed if isinstance(v.message, CertificateSigned)]
    first = words[0]
    if any(attrs.evolve(word, voter=first.voter) != first for word in words):
        raise Malformed("Its voters did not sign the same.")
    if first.committee_hash != committee_hash(tuple(voters)):
        raise NotForUs("It belongs to another committee.")
    if first.leader not in voters:
        raise NotForUs("The leader that it names is no voter of that committee.")
    return LeaderCertificate(
        log_id=log_id,
        term=first.term,
        leader=first.leader,
        committee_hash=first.committee_hash,
        commit_index=first.commit_index,
        state_digest=first.state_digest,
        time_ms=first.time_ms,
        signatures=tuple(v.sealed for v in signed),
        history=first.history,
    )


def check_fresh(time_ms: int, wall_ms: int) -> None:
    """`Stale` if the certificate is older than two minutes, or dated in the future."""
    age_ms = wall_ms - time_ms
    if age_ms > limits.CERTIFICATE_LIFETIME_MS + limits.CLOCK_SKEW_MAX_MS:
        raise Stale(
            f"The leader's certificate is {age_ms // 1000} s old; it is valid for "
            f"{limits.CERTIFICATE_LIFETIME_MS // 1000} s.",
            hint="Ask again, or ask another peer: the leader renews it every minute.",
        )
    if age_ms < -limits.CLOCK_SKEW_MAX_MS:
        raise Stale(
            f"The leader's certificate is dated {-age_ms // 1000} s in the future.",
            hint="One of the clocks is wrong.",
        )


def committee_named(opened: Opened) -> Digest | None:
    """The committee that this certificate claims, before any of it is verified."""
    first = opened[0].message if opened and opened[0] is not None else None
    return first.committee_hash if isinstance(first, CertificateSigned) else None


def signed_history(opened: Opened, voters: Sequence[Voter], log_id: Digest) -> SignedHistory:
    """The history that a quorum of these voters signed. Others may have signed it too: those of the
    next committee, which whoever checks it does not know yet."""
    known, heard = dict.fromkeys(voters), set[Voter]()
    said: SignedHistory | None = None
    for verified in opened:
        if verified is None:
            raise BadSignature("A signature in it does not verify for this pool.")
        m = verified.message
        if not isinstance(m, HistorySigned) or not said_by(verified, m.voter):
            raise Malformed("It contains something else than histories by their signers.")
        if m.log_id != log_id:
            raise NotForUs("It belongs to another log of this pool.")
        if said not in (None, found := SignedHistory(m.index, m.history)):
            raise Malformed("Its voters did not sign the same.")
        said = found
        if m.voter in known:
            heard.add(m.voter)
    _enough(len(heard), voters)
    assert said is not None
    return said


# --- changes of the voters ----------------------------------------------------------------------


def link_signers(
    opened: Opened, link: Link, previous: Sequence[Voter], log_id: Digest
) -> tuple[Voter, ...]:
    """The previous voters that signed a link; raises a refusal if any signature is wrong."""
    hashes = committee_hash(tuple(previous)), committee_hash(link.voters)
    wanted = (log_id, link.index, link.term, *hashes)
    signers: list[Voter] = []
    for verified in _signers(opened, ConfigurationSigned, previous, log_id):
        m = verified.message
        assert isinstance(m, ConfigurationSigned)
        if (m.log_id, m.index, m.term, m.previous_hash, m.new_hash) != wanted:
            raise NotForUs("A signature is for another change of the committee.")
        signers.append(m.voter)
    return tuple(signers)


# --- votes --------------------------------------------------------------------------------------


def votes_for(
    opened: Opened, voters: Sequence[Voter], log_id: Digest, term: int, leader: Voter
) -> int:
    """How many of the voters are shown to have elected a leader, for people: it may be none.
    Raises a refusal if any vote is wrong. What a majority elected, `core.raft.election` judges."""
    for verified in _signers(opened, VoteAnswered, voters, log_id):
        m = verified.message
        assert isinstance(m, VoteAnswered)
        if (m.term, m.candidate, m.granted, m.pre) != (term, leader, True, False):
            raise NotForUs("A vote is for another candidate, term or question.")
    return len(opened)


def electors(
    opened: Opened, log_id: Digest, term: int, candidate: Voter, *, pre: bool = False
) -> set[Voter]:
    """Whoever gave a candidate this vote (or pre-vote), its own included. Whether they are voters,
    and enough of them, is for the caller to say; whatever is no such vote counts as nothing."""
    found: set[Voter] = set()
    for verified in opened:
        m = verified.message if verified is not None else None
        if verified is None or not isinstance(m, VoteAnswered) or not said_by(verified, m.voter):
            continue
        if (m.log_id, m.term, m.candidate, m.pre) == (log_id, term, candidate, pre) and m.granted:
            found.add(m.voter)
    return found


def handed_over(opened: Opened, order: TimeoutNow) -> bool:
    """Whether the leader that this order names gave it, sealed by its own key."""
    return any(
        verified is not None and verified.message == order and said_by(verified, order.leader)
        for verified in opened
    )


# --- equivocation -------------------------------------------------------------------------------


def stance(verified: Verified) -> tuple[Digest, int, Voter, str, Voter] | None:
    """The statement that a message commits its voter to: (log, term, voter, kind, for whom).

    None for other messages, and for a vote with a reason, which counts nowhere. Votes and
    certificate signatures are two kinds: any honest voter may vote for one candidate and then
    follow another who won.
    """
    m = verified.message
    if isinstance(m, VoteAnswered) and m.granted and not m.pre and said_by(verified, m.voter):
        if m.reason:
            return None
        return m.log_id, m.term, m.voter, VOTE, m.candidate
    if isinstance(m, CertificateSigned) and said_by(verified, m.voter):
        return m.log_id, m.term, m.voter, CERTIFICATE, m.leader
    return None


def said_of_log(verified: Verified) -> tuple[Digest, int, Voter, str, Digest] | None:
    """What a message commits its voter to about the log: (log, index, voter, kind, hash), that of
    the history or of the committee that follows there.

    A term is no part of it: what is committed at an index of a log stays, whoever leads, and a
    recovery begins another log. A voter that throws its copy away goes on as another store.
    """
    m = verified.message
    if isinstance(m, HistorySigned) and said_by(verified, m.voter):
        return m.log_id, m.index, m.voter, HISTORY, m.history
    if isinstance(m, CertificateSigned) and said_by(verified, m.voter):
        said = m.history != NO_HISTORY_SIGNED
        return (m.log_id, m.commit_index, m.voter, HISTORY, m.history) if said else None
    if isinstance(m, ConfigurationSigned) and said_by(verified, m.voter):
        return m.log_id, m.index, m.voter, CHANGE, m.new_hash
    return None


def equivocation(first: Verified | None, second: Verified | None) -> Evidence:
    """The proof in two messages by one voter: for two candidates (or two leaders) in one term, or
    of two histories or changes of the committee at one index."""
    if first is None or second is None:
        raise BadSignature("A signature in it does not verify for this pool.")
    for_two = _contradict(stance(first), stance(second))
    if not for_two and _contradict(said_of_log(first), said_of_log(second)):
        return _two_of_log(first, second)
    return _for_two(first, second)


def _contradict(one: tuple[object, ...] | None, other: tuple[object, ...] | None) -> bool:
    """Whether two words of one voter about one thing differ in what they say of it."""
    return one is not None and other is not None and one[:-1] == other[:-1] and one != other


def _two_of_log(first: Verified, second: Verified) -> Evidence:
    one, other = said_of_log(first), said_of_log(second)
    assert one is not None
    assert other is not None
    # One canonical order, whichever message was found first.
    if other[-1] < one[-1]:
        first, second, one, other = second, first, other, one
    log_id, index, voter, kind, named = one
    terms = [v.message.term for v in (first, second) if isinstance(v.message, OF_LOG)]
    return Evidence(
        log_id=log_id,
        term=max(terms),
        voter=voter,
        kind=kind,
        first_for=voter,
        second_for=voter,
        first=first.sealed,
        second=second.sealed,
        index=index,
        first_hash=named,
        second_hash=other[-1],
    )


def _for_two(first: Verified, second: Verified) -> Evidence:
    one, other = stance(first), stance(second)
    if one is None or other is None:
        raise Malformed(
            "It does not consist of granted votes, of signatures over a leader, or of signatures "
            "over two histories or changes at one index."
        )
    if one[:4] != other[:4]:
        raise Malformed("Its two messages differ in voter, log, term or kind.")
    if one[4] == other[4]:
        raise Malformed("Its two messages agree: that proves nothing.")
    # One canonical order, whichever message was found first.
    if other[4] < one[4]:
        first, second, one, other = second, first, other, one
    log_id, term, voter, kind, named = one
    return Evidence(
        log_id=log_id,
        term=term,
        voter=voter,
        kind=kind,
        first_for=named,
        second_for=other[4],
        first=first.sealed,
        second=second.sealed,
    )
