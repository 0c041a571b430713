"""Snapshots: made from applied state, sent in parts by a leader, installed in place of a log.

Intuition: a follower that lacks what the leader has compacted away gets the state itself. It joins
the parts of one snapshot, by one leader in one term, in order; a part of another one starts over.
A tail of entries stays behind a snapshot, so a follower that is a little behind needs none; entries
after a snapshot in flight stay too, or the follower could not go on from it.

Invariants: a follower acknowledges a whole snapshot only once it is installed (or everything in it
was committed here already), because the leader counts that as a match. Installing one loses nothing
committed. A snapshot that is not what it says, or whose state does not load, is refused before
anything of it is kept, and for a while the follower ignores that leader's next ones.
Source: Raft, section 7 and figure 13.
"""

from p2pool.codec.entries import decode_snapshot, encode_snapshot
from p2pool.core.raft.acceptance.append_check import configuration_before, is_doubted
from p2pool.core.raft.progress import Progress, Receiving, Sending
from p2pool.core.raft.state import RaftState
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.log.raft import Snapshot, Voter
from p2pool.model.messages.raft import SnapshotAnswered, SnapshotSent
from p2pool.model.ports.store import CompactTo, SaveSnapshot, TruncateFrom
from p2pool.model.timing import Now


def make(s: RaftState, state: bytes, index: int, certificate: tuple[bytes, ...] = ()) -> None:
    """Replace the log up to an applied index, except for a tail, by the encoded state there.
    `certificate`: a quorum's signatures over that state."""
    term = s.log.term_at(index)
    assert term is not None, "only held and applied entries are compacted"
    assert s.snapshot_index <= index <= s.commit_index
    at_ms = s.log.at(index).proposed_at_ms if index > s.log.base_index else s.snapshot_at_ms
    configuration = configuration_before(s, index + 1)
    s.snapshot = encode_snapshot(
        Snapshot(
            log_id=s.log_id,
            index=index,
            term=term,
            last_proposed_at_ms=at_ms,
            configuration=configuration,
            state=state,
        )
    )
    s.snapshot_index, s.snapshot_term, s.base_configuration = index, term, configuration
    s.snapshot_certificate = certificate
    s.snapshot_at_ms = at_ms
    s.grown_bytes = s.log.bytes_after(index)
    begin = _tail_begin(s, index)
    base_term = s.log.term_at(begin)
    assert base_term is not None
    s.log.compact(begin, base_term)
    s.out.persist += [SaveSnapshot(s.snapshot), CompactTo(begin)]


def _tail_begin(s: RaftState, index: int) -> int:
    """The index after which entries stay in the log."""
    begin = s.log.tail_before(index, s.keep_entries)
    needed = [p.sending.index for p in s.progress.values() if p.sending is not None]
    held = max(min([begin, *needed]), index - limits.SNAPSHOT_HOLD_ENTRIES_MAX)
    return max(held, s.log.base_index)


def load(s: RaftState, data: bytes) -> Snapshot:
    """Adopt a snapshot that is on the disk, or about to be."""
    snapshot = decode_snapshot(data)
    s.snapshot, s.base_configuration = data, snapshot.configuration
    s.snapshot_index, s.snapshot_term = snapshot.index, snapshot.term
    s.snapshot_certificate = ()
    s.snapshot_at_ms = snapshot.last_proposed_at_ms
    s.commit_index = max(s.commit_index, snapshot.index)
    return snapshot


def weigh(s: RaftState) -> None:
    """Recount the bytes after a restore or an installed snapshot."""
    s.grown_bytes = s.log.bytes_after(s.snapshot_index)
    s.uncommitted_bytes = s.log.bytes_after(s.commit_index)


def begin(s: RaftState, progress: Progress) -> None:
    """Start sending the newest snapshot to a follower that lacks compacted entries."""
    assert s.snapshot is not None, "a compacted log has a snapshot"
    due = limits.SNAPSHOT_RESEND_AFTER_APPENDS
    progress.compacted(
        Sending(
            s.snapshot_index,
            s.snapshot_term,
            s.snapshot,
            certificate=s.snapshot_certificate,
            waited=due,
        )
    )


def sendable(s: RaftState) -> bool:
    """Whether a follower would install our snapshot: it may want a quorum's word for it, which the
    next certificate gives (`core.log.pool_log`)."""
    return bool(s.snapshot_certificate) or not s.wants_proof


def send_part(s: RaftState, to: Voter, progress: Progress) -> None:
    """Send the part that the follower needs next; again only within its budget: else a later
    interval does."""
    sending = progress.sending
    assert sending is not None, "a snapshot is on its way"
    begin, end = sending.offset, sending.offset + limits.SNAPSHOT_CHUNK_BYTES
    if begin < sending.sent_bytes:
        if progress.repeats.left_bytes <= 0:
            return
        progress.repeats.left_bytes -= limits.SNAPSHOT_CHUNK_BYTES
    sending.waited, sending.sent_bytes = 0, max(end, sending.sent_bytes)
    part = sending.data[begin:end]
    s.tell(
        to,
        SnapshotSent(
            log_id=s.log_id,
            term=s.hard.term,
            leader=s.me,
            follower=to,
            last_index=sending.index,
            last_term=sending.term,
            offset=begin,
            total_bytes=len(sending.data),
            data=part,
            certificate=sending.certificate if end >= len(sending.data) else (),
        ),
    )


def requested(s: RaftState, m: SnapshotSent, now: Now) -> None:
    """A part of a snapshot from the leader; the last part installs it."""
    if m.follower != s.me or not _well_formed(m):
        return
    if m.term < s.hard.term:
        _answer(s, m, 0)
        return
    if m.term == s.hard.term and s.leads:
        return  # A second leader of our own term is a lie: Raft has one.
    if is_doubted(s, m.term, m.leader):
        return
    s.follow(m.term, m.leader, now)
    if m.last_index <= s.commit_index:
        _answer(s, m, m.total_bytes)
        return
    name = (m.term, m.leader.store_id, m.last_index, m.last_term, m.total_bytes)
    if s.receiving.name != name:
        s.receiving = Receiving(name)
    if s.refused is not None and _is_refused(s, m, now):
        return
    held = s.receiving.data
    if m.offset == len(held) and len(held) + len(m.data) <= m.total_bytes:
        held += m.data
    if len(held) < m.total_bytes:
        _answer(s, m, len(held))
        return
    s.receiving = Receiving()
    if _install(s, bytes(held), m):
        _answer(s, m, m.total_bytes)
        return
    s.refused = (m.term, m.leader.store_id, now.mono_ms + limits.SNAPSHOT_REFUSED_MS)
    s.out.refused.append(m.leader)
    _answer(s, m, 0)


def _well_formed(m: SnapshotSent) -> bool:
    """Whether a part is one of a snapshot that there may be."""
    numbers = (m.term, m.last_index, m.last_term, m.offset)
    in_range = all(0 <= number < limits.LOG_NUMBER_MAX for number in numbers)
    return in_range and 0 < m.total_bytes <= limits.SNAPSHOT_MAX_BYTES


def _is_refused(s: RaftState, m: SnapshotSent, now: Now) -> bool:
    """Whether this leader sent a bad one a while ago: its next ones get no answer."""
    assert s.refused is not None
    term, store_id, until_ms = s.refused
    return (term, store_id) == (m.term, m.leader.store_id) and now.mono_ms < until_ms


def _install(s: RaftState, data: bytes, m: SnapshotSent) -> bool:
    """Install it in place of the log up to its index; False if it is not what it said."""
    try:
        snapshot = decode_snapshot(data)
    except Malformed:
        return False
    said = (s.log_id, m.last_index, m.last_term)
    found = (snapshot.log_id, snapshot.index, snapshot.term)
    if found != said or not s.snapshot_validator(snapshot):
        return False
    put_in_place(s, snapshot, data)
    return True


def put_in_place(s: RaftState, snapshot: Snapshot, data: bytes) -> None:
    """Install a snapshot that ends after our commit index (figure 13, 6 to 8). Entries that it
    covers stay only if they lead to its state: a leader may have given us others of that term."""
    assert snapshot.index > s.commit_index, "a snapshot may not replace committed entries"
    keeps = s.log.term_at(snapshot.index) == snapshot.term and s.leads_to(snapshot)
    if not keeps and s.log.entries:
        s.out.persist.append(TruncateFrom(s.log.base_index + 1))
        s.log.cut_from(s.log.base_index + 1)
    s.out.persist.append(SaveSnapshot(data))
    load(s, data)
    if not keeps:
        s.log.compact(snapshot.index, snapshot.term)
        s.out.persist.append(CompactTo(snapshot.index))
    weigh(s)
    s.find_configuration()
    s.role = s.resting_role()
    s.out.installed = snapshot.state


def _answer(s: RaftState, m: SnapshotSent, received_bytes: int) -> None:
    answer = SnapshotAnswered(
        log_id=s.log_id,
        term=s.hard.term,
        leader=m.leader,
        follower=s.me,
        last_index=m.last_index,
        received_bytes=received_bytes,
    )
    s.tell(m.leader, answer)
