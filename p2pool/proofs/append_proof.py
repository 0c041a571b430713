"""Which appends prove by themselves that their leader lies, to whoever reads them.

Intuition: a follower refuses an entry by what its own log holds (`core.raft.acceptance`). Others
hold other logs, so to them that is one word against another. Some lies need no log to be seen: a
leader seals an entry of its own term that no leader of any version writes, or a request in the name
of somebody who did not sign it, or a change of the committee together with the configuration before
it. The leader's own word on its committee (`CertificateSigned`) shows a change as well, if the
frame reaches back to it.

Invariants: an honest leader is never proven to lie. So only entries of the frame's own term count:
earlier ones may be a former leader's, which one of an earlier version has let in. A body of a later
version counts for nothing, and so do rules that a version may change (settings, levels). A change
is judged only by what the same leader sealed: its log is what others think it is only as far as
earlier leaders told all of them the same. Behind a configuration that cannot be read nothing is
judged: earlier versions read some that later ones skip. Whoever holds the committee of which the
leader's word gives the hash judges alike, in the pool or outside.
Source: docs/design/consensus.md, "What a follower appends".
"""

from collections.abc import Callable, Sequence

import attrs

from p2pool.codec.digests import committee_hash
from p2pool.codec.entries import configuration_in, read_entry
from p2pool.model import limits
from p2pool.model.access.requests import SignedRequest, Signers
from p2pool.model.errors import BadSignature, Malformed
from p2pool.model.log.certificates import BadAppend
from p2pool.model.log.configuration_steps import step_refusal, voters_refusal
from p2pool.model.log.entries import Adopted, RequestApplied
from p2pool.model.log.raft import Configuration, EntryKind, Voter
from p2pool.model.messages.certificates import CertificateSigned
from p2pool.model.messages.raft import AppendRequested
from p2pool.model.messages.registry import Verified
from p2pool.proofs.certificates import said_by

SIGNED = (EntryKind.REQUEST, EntryKind.ADOPTION)
"""The entries that name who signed what is in them."""
Recover = Callable[[SignedRequest], Signers | None]
"""Who signed a request; None if nobody did, for this pool."""


@attrs.frozen
class CommitteeAt:
    """The voters at an index, by the leader's own word in the frame's term."""

    index: int
    voters: tuple[Voter, ...]


@attrs.frozen
class Flaw:
    """The entry that proves the lie, and why no honest leader writes it."""

    index: int
    reason: str


def bad_append(
    append: Verified | None,
    word: Verified | None = None,
    committee: Sequence[Voter] = (),
    recovers: Recover | None = None,
) -> BadAppend:
    """The proof in a sealed append, or a `Refusal`. `word`: what the same leader said of its
    committee in that term; `committee`: the voters of whom that gives the hash. Without `recovers`
    nobody's signature under a request is asked for."""
    if append is None:
        raise BadSignature("Its append's signature does not verify for this pool.")
    frame = append.message
    if not isinstance(frame, AppendRequested) or not said_by(append, frame.leader):
        raise Malformed("It holds no append that was sealed by the leader that it names.")
    at = _committee_at(frame, word, tuple(committee))
    found = flaw(frame, at, recovers)
    if found is None:
        raise Malformed("An honest leader may have sent its append: that proves nothing.")
    return BadAppend(
        log_id=frame.log_id,
        term=frame.term,
        voter=frame.leader,
        index=found.index,
        reason=found.reason[: limits.REFUSAL_TEXT_MAX_BYTES],
        frame=append.sealed,
        word=word.sealed if word is not None and at is not None else b"",
        committee=at.voters if at is not None else (),
    )


def _committee_at(
    frame: AppendRequested, word: Verified | None, committee: tuple[Voter, ...]
) -> CommitteeAt | None:
    """The committee that a leader's word names, if it is of this leader and term, and if these are
    its voters."""
    said = word.message if word is not None else None
    if word is None or not isinstance(said, CertificateSigned):
        return None
    named = (said.log_id, said.term, said.leader, said.voter)
    if named != (frame.log_id, frame.term, frame.leader, frame.leader):
        return None
    if not said_by(word, frame.leader) or committee_hash(committee) != said.committee_hash:
        return None
    return CommitteeAt(said.commit_index, committee)


def forged(record: object, recovers: Recover) -> str | None:
    """Why a record's request is not that of the signers that it names; None if it is, or if the
    record holds none."""
    if not isinstance(record, RequestApplied | Adopted):
        return None
    if record.signed.by_contract != (record.judged_at is not None):
        return (
            "a contract's signature needs the block at which the chain took it, and no other does"
        )
    found, claimed = recovers(record.signed), Signers(record.signer, record.grantor)
    if found is None:
        return "a request in it has no good signature"
    return None if found == claimed else "another account signed a request than the one it names"


def flaw(
    frame: AppendRequested,
    committee: CommitteeAt | None = None,
    recovers: Recover | None = None,
) -> Flaw | None:
    """The first entry of a frame that proves its leader a liar; None if nothing here does.
    `committee`: what the same leader said of its committee, in the same term. `recovers` is asked
    for the entries of that term, and no more than `limits.BAD_APPEND_SIGNATURES_MAX` of them."""
    before: Configuration | None = None
    index, voters_index = frame.previous_index, committee.index if committee is not None else 0
    reaches = committee is not None and index <= voters_index
    left = limits.BAD_APPEND_SIGNATURES_MAX if recovers is not None else 0
    for entry in frame.entries:
        if entry.index != index + 1 or entry.term > frame.term:
            return None  # No leader sends that by mistake either, but it is nobody's log.
        index = entry.index
        why, record = read_entry(entry)
        if isinstance(record, Configuration):
            why = record.flaw
        if entry.kind in SIGNED and entry.term == frame.term and left > 0 and recovers is not None:
            why, left = why or forged(record, recovers), left - 1
        wanted = configuration_in(entry)
        if wanted is not None and before is not None:
            why = step_refusal(before, wanted)
        elif wanted is not None and committee is not None and reaches and index > voters_index:
            why = voters_refusal(committee.voters, wanted)
        if wanted is not None and wanted.is_joint:
            why = why or voters_refusal(wanted.outgoing, wanted)
        if why is not None and entry.term == frame.term:
            return Flaw(index, why)
        if wanted is None and entry.kind == EntryKind.CONFIGURATION:
            return None
        before = wanted or before
    return None
