"""Figure 3 of the Raft paper: its five properties hold in random runs, and each checker can fail.

The checkers (`tests.raft.harness.checks`) look from outside at everything that is sent, written and
applied. Each property has runs of its own, and a planted fault that must be told under its name.
"""

from types import ModuleType

import pytest

from p2pool.core.raft import election, replication
from p2pool.core.raft.log import RaftLog
from p2pool.core.raft.raft import Raft
from p2pool.core.raft.state import RaftState
from p2pool.model.log import raft as raft_records
from p2pool.model.log.raft import Entry, HardState
from p2pool.model.messages.raft import AppendRequested
from p2pool.model.timing import Now
from tests.raft.harness.checks import Checks, Violation
from tests.raft.harness.cluster import Cluster
from tests.raft.harness.disk import Disk
from tests.raft.harness.scenario import simulate

RUNS = 4
PLANTED_RUNS_MAX = 80


def hold(first: int) -> None:
    """Random runs of everything, with every checker on."""
    for seed in range(first, first + RUNS):
        cluster = simulate(seed)
        assert cluster.chosen
        assert cluster.checks.leaders


def told(name: str) -> bool:
    """Whether some run of a planted fault is told under this name."""
    for seed in range(PLANTED_RUNS_MAX):
        try:
            simulate(seed)
        except Violation as violation:
            if str(violation).startswith(name):
                return True
        except (AssertionError, KeyError):
            continue  # The code noticed it by itself before the checker could.
    return False


def plant(patch: pytest.MonkeyPatch, place: ModuleType | type, name: str, bug: object) -> None:
    patch.setattr(place, name, bug)


# --- Election Safety ----------------------------------------------------------------------------


def test_election_safety() -> None:
    """'Election Safety: at most one leader can be elected in a given term.' (5.2)"""
    hold(1_000)


def test_election_safety_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate takes half of the voters for a majority."""
    count = election._count

    def half(voters: int) -> int:
        return max(1, voters // 2)

    def lenient(s: RaftState, now: Now) -> bool:
        with monkeypatch.context() as patch:
            patch.setattr(raft_records, "majority", half)
            return count(s, now)

    plant(monkeypatch, election, "_count", lenient)
    assert told("Election Safety")


# --- Leader Append-Only -------------------------------------------------------------------------


def test_leader_append_only() -> None:
    """'Leader Append-Only: a leader never overwrites or deletes entries in its log; it only
    appends new entries.' (5.3)"""
    hold(2_000)


def test_leader_append_only_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader takes back what it has not committed yet."""
    good = replication.replicate

    def takes_back(s: RaftState) -> None:
        if s.log.last_index > s.commit_index + 1 and s.configuration_index < s.log.last_index:
            s.cut_from(s.log.last_index)
        good(s)

    plant(monkeypatch, replication, "replicate", takes_back)
    assert told("Leader Append-Only")


# --- Log Matching -------------------------------------------------------------------------------


def entry(index: int, term: int, body: bytes = b"") -> Entry:
    return Entry(index, term, 5, 0, body)


def rafts_with(*logs: tuple[Entry, ...]) -> list[Raft]:
    """Participants of a cluster, with these logs in place of theirs."""
    cluster, made = Cluster(1, size=len(logs)), []
    for raft, entries in zip(cluster.rafts, logs, strict=True):
        assert raft is not None
        raft.state.log = RaftLog(entries=list(entries))
        made.append(raft)
    return made


def test_log_matching() -> None:
    """'Log Matching: if two logs contain an entry with the same index and term, then the logs are
    identical in all entries up through the given index.' (5.3)"""
    hold(3_000)


@pytest.mark.parametrize(
    "other",
    [
        (entry(1, 1), entry(2, 2), entry(3, 3)),
        (entry(1, 1), entry(2, 1), entry(3, 3, b"another")),
    ],
    ids=["another history before it", "another entry"],
)
def test_log_matching_can_fail(other: tuple[Entry, ...]) -> None:
    """Two logs that share (index 3, term 3) and differ in it, or before it."""
    checks = Checks()
    good = (entry(1, 1), entry(2, 1), entry(3, 3))
    checks.logs(rafts_with(good, good))
    with pytest.raises(Violation, match="Log Matching"):
        checks.logs(rafts_with(good, other))


# --- Leader Completeness ------------------------------------------------------------------------


def test_leader_completeness() -> None:
    """'Leader Completeness: if a log entry is committed in a given term, then that entry will be
    present in the logs of the leaders for all higher-numbered terms.' (5.4)"""
    hold(4_000)


def test_leader_completeness_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Votes go to candidates whose logs are behind."""

    def any_log(self: RaftLog, last_index: int, last_term: int) -> bool:
        return True

    plant(monkeypatch, RaftLog, "is_up_to_date", any_log)
    assert told("Leader Completeness")


# --- State Machine Safety -----------------------------------------------------------------------


def test_state_machine_safety() -> None:
    """'State Machine Safety: if a server has applied a log entry at a given index to its state
    machine, no other server will ever apply a different log entry for the same index.' (5.4.3)"""
    hold(5_000)


def test_state_machine_safety_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower commits up to the leader's index all that its log holds, its own leftovers too
    (figure 2, AppendEntries, rule 5 without the index of the last new entry)."""
    good = replication.requested

    def leftovers(s: RaftState, m: AppendRequested, now: Now) -> None:
        good(s, m, now)
        if s.leader == m.leader and not s.leads:
            s.commit_to(min(m.commit_index, s.log.last_index))

    plant(monkeypatch, replication, "requested", leftovers)
    assert told("State Machine Safety")


# --- and what all of them stand on --------------------------------------------------------------


def test_a_vote_that_is_not_on_the_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figure 2: 'Persistent state: updated on stable storage before responding to RPCs.'"""

    def no_disk(s: RaftState, term: int, voted_for: bytes | None) -> None:
        s.hard = HardState(term, voted_for)  # type: ignore[arg-type]

    plant(monkeypatch, RaftState, "save_hard", no_disk)
    assert told("a vote") or told("entry")


def test_an_entry_that_is_not_on_the_disk_is_told() -> None:
    """The same, for an acknowledgement."""
    with pytest.raises(Violation, match="before it was durable"):
        Checks()._held(Disk(HardState(3)), 3, 7)
