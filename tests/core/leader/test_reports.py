"""What nodes report makes the log grow by a ration at most, and comes through in the end."""

import attrs
import pytest

from p2pool.codec.entries import encode_body
from p2pool.core.fsm.state import Allocation
from p2pool.core.leader.reports import Reports
from p2pool.core.scheduler.plan import Plan
from p2pool.model import limits
from p2pool.model.access.delegations import Delegation, Quota, Scope, SignedDelegation
from p2pool.model.access.requests import Signers
from p2pool.model.chain.root_record import PreviousLog
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel
from p2pool.model.ids import Address, AllocationId, Digest
from p2pool.model.log.entries import Adopted, Outcome, ReportApplied
from p2pool.model.log.state_digests import UNKNOWN_DIGEST
from p2pool.model.messages.work import Desired, Report
from p2pool.model.states import AllocationState, StartRefusal
from p2pool.model.timing import Now
from tests.core.leader.running_copies import Case

S = AllocationState


class Reporting(Case):
    """A node with some copies, whose reports a leader logs: each entry is applied at once."""

    def __init__(self, copies: int = 1) -> None:
        super().__init__()
        machine = next(m for m in self.world.machines if m.node and m.node.parts.leading)
        assert machine.node is not None
        assert machine.node.parts.leading is not None
        self.leading = machine.node.parts.leading
        self.reports = Reports(self.context, self.leading.orders, self._propose)
        self.entries: list[ReportApplied] = []
        (task,) = self.state.tasks
        self.copies = [
            Allocation(AllocationId(task, 10 + n), S.RUNNING, 1, self.away) for n in range(copies)
        ]
        for copy in self.copies:
            self.state.put(copy)

    def _propose(self, record: ReportApplied | Adopted, now: Now) -> int:
        assert isinstance(record, ReportApplied)
        assert len(encode_body(record)[1]) <= limits.ENTRY_MAX_BYTES
        self.entries.append(record)
        for o in record.outcomes:
            copy = self.state.allocation(o.allocation)
            assert copy is not None
            self.state.put(attrs.evolve(copy, state=o.state, reason=o.reason))
        return 10**6 + len(self.entries)

    def report(self, ms: int, *outcomes: Outcome) -> None:
        """The node says so, and what was logged before is applied."""
        token = self.leading.orders.token()
        self.reports.take(self.away, Report(token, outcomes), (), Now(ms, ms))
        self.reports.applied(10**6 + len(self.entries))

    def says(self, copy: Allocation, state: AllocationState, reason: str = "") -> Outcome:
        return Outcome(copy.allocation, copy.attempt, state, reason)

    @property
    def logged(self) -> int:
        return sum(len(entry.outcomes) for entry in self.entries)


def test_ever_new_reasons_of_a_copy_are_logged_now_and_then() -> None:
    """The first few at once, then one a minute; the latest comes through when it stands."""
    case = Reporting()
    (copy,) = case.copies
    for ms in range(0, 600_000, 100):
        case.report(ms, case.says(copy, S.RUNNING, f"reason {ms}"))
    assert limits.REASONS_AT_ONCE < case.logged <= limits.REASONS_AT_ONCE + 10
    for ms in range(600_000, 663_000, limits.REPORT_RESEND_MS):
        case.report(ms, case.says(copy, S.RUNNING, "the last one"))
    assert case.entries[-1].outcomes[0].reason == "the last one"


def test_all_copies_of_a_node_have_one_ration_of_reasons() -> None:
    """Each is new, and the node has as many as an order holds."""
    case = Reporting(limits.ALLOCATIONS_PER_NODE_MAX)
    for ms in range(0, 60_000, 1_000):
        said = [case.says(copy, S.RUNNING, f"reason {ms}") for copy in case.copies]
        case.report(ms, *said)
    most = limits.REPORT_REASONS_BURST + 60 * limits.REPORT_REASONS_PER_S
    assert case.logged <= most


def test_states_that_come_and_go_are_rationed() -> None:
    """A copy that says it starts again with every frame; its end comes through."""
    case = Reporting()
    (copy,) = case.copies
    for number in range(20_000):
        becomes = S.STARTING if number % 2 == 0 else S.RUNNING
        case.report(number, case.says(copy, becomes))
    assert case.logged <= limits.REPORT_CHANGES_BURST + 20 * limits.REPORT_CHANGES_PER_S
    case.report(23_000, case.says(copy, S.SUCCEEDED))
    assert case.entries[-1].outcomes[0].state is S.SUCCEEDED


def test_an_honest_nodes_states_are_logged_at_once() -> None:
    """All its copies start, run and end, as fast as it says so."""
    case = Reporting(limits.ALLOCATIONS_PER_NODE_MAX)
    for number, state in enumerate((S.STARTING, S.RUNNING, S.STOPPING, S.STOPPED)):
        case.report(number, *[case.says(copy, state) for copy in case.copies])
    assert case.logged == 4 * len(case.copies)


def test_long_reasons_come_in_as_many_entries_as_hold_them() -> None:
    """What found no room is repeated."""
    case = Reporting(limits.ALLOCATIONS_PER_NODE_MAX)
    said = [case.says(copy, S.FAILED, "x" * limits.TEXT_MAX_BYTES) for copy in case.copies]
    for number in range(5):
        case.report(number, *said)
    assert case.logged == len(case.copies)
    assert len(case.entries) > 1


def test_claims_of_ever_later_attempts_are_rationed() -> None:
    """After a recovery; each would bring its submission with it, and leave the last one behind."""
    case = Reporting()
    pool_log = case.context.pool_log
    assert pool_log.root is not None
    previous = PreviousLog(Digest(bytes(32)), 1, UNKNOWN_DIGEST)
    pool_log.root = attrs.evolve(pool_log.root, previous=previous)
    (copy,) = case.copies
    record = case.state.tasks[copy.allocation.task_id].record
    adopted: list[Adopted] = []

    def note(made: ReportApplied | Adopted, now: Now) -> int:
        assert isinstance(made, Adopted)
        adopted.append(made)
        return 1

    case.reports.propose = note
    name, by = AllocationId(copy.allocation.task_id, 0), Signers(record.signer, record.grantor)
    for ms in range(10_000):
        claim = Desired(name, 100 + ms, record.signed, ())
        token = case.leading.orders.token()
        now = attrs.evolve(case.at(0), mono_ms=ms)
        case.reports.take(case.away, Report(token, (), (claim,)), (by,), now)
    most = limits.REPORT_CHANGES_BURST + 10 * limits.REPORT_CHANGES_PER_S
    assert most // 2 < len(adopted) <= most


@pytest.mark.parametrize(("level", "takes"), [(BASE_LEVEL, False), (DISTRUST_LEVEL, True)])
def test_a_claim_waits_until_the_log_has_words_for_it(level: FeatureLevel, takes: bool) -> None:
    """A pool that was recovered to an earlier level does not know what a delegate's quota is."""
    case = Reporting()
    pool_log, now = case.context.pool_log, case.at(0)
    assert pool_log.root is not None
    previous = PreviousLog(Digest(bytes(32)), 1, UNKNOWN_DIGEST)
    pool_log.root = attrs.evolve(pool_log.root, previous=previous)
    case.state.level = level
    (copy,) = case.copies
    record = case.state.tasks[copy.allocation.task_id].record
    friend, now_s = Address(b"f" * 20), now.wall_ms // 1000
    given = Delegation(
        pool_id=record.signed.request.pool_id,
        delegate=friend,
        scope=Scope.SUBMIT,
        not_before_s=now_s - 60,
        not_after_s=now_s + 600,
        quota=Quota(max_gpus=64),
    )
    signed = attrs.evolve(record.signed, delegation=SignedDelegation(given, b"d" * 65))
    made: list[ReportApplied | Adopted] = []

    def note(record: ReportApplied | Adopted, now: Now) -> int:
        encode_body(record, case.state.level)
        made.append(record)
        return 1

    case.reports.propose = note
    claim = Desired(AllocationId(copy.allocation.task_id, 0), 100, signed, ())
    report = Report(case.leading.orders.token(), (), (claim,))
    case.reports.take(case.away, report, (Signers(friend, record.signer),), now)
    assert bool(made) is takes


def test_a_leader_explains_a_waiting_copy_anew_now_and_then() -> None:
    """What other nodes say of their machines stands in its reasons, and may change all the time."""
    case = Reporting()
    (task,) = case.state.tasks
    name = AllocationId(task, 1_000)
    case.state.put(Allocation(name))
    logged = 0
    for ms in range(0, 600_000, limits.DECIDE_INTERVAL_MS):
        made = Plan((), ((name, f"not enough memory ({ms} free)"),))
        logged += len(case.leading._reasons(case.state, made, Now(ms, ms)))
    assert limits.REASONS_AT_ONCE < logged <= limits.REASONS_AT_ONCE + 10


def test_where_many_copies_wait_all_are_explained_in_the_end() -> None:
    """What the log has no room for now takes nothing of a copy's own ration."""
    case = Reporting()
    (task,) = case.state.tasks
    names = [AllocationId(task, 1_000 + n) for n in range(3 * limits.REPORT_CHANGES_BURST)]
    for name in names:
        case.state.put(Allocation(name))
    for ms in range(0, 132_000, limits.DECIDE_INTERVAL_MS):
        made = Plan((), tuple((name, "no node fits") for name in names))
        for record in case.leading._reasons(case.state, made, Now(ms, ms)):
            for o in record.outcomes:
                case.state.put(Allocation(o.allocation, reason=o.reason))
    assert all(case.state.allocation(name).reason for name in names)  # type: ignore[union-attr]


def test_a_log_of_the_first_level_takes_no_refusal() -> None:
    """Its entries have no field for one: a node that says so all the same ends no leader."""
    case = Reporting()
    (copy,) = case.copies
    said = attrs.evolve(case.says(copy, S.STOPPED, "not here"), refused=StartRefusal.LASTING)
    case.state.level = BASE_LEVEL
    case.report(0, said)
    assert case.logged == 0
    case.report(0, case.says(copy, S.STOPPED, "not here"))
    assert case.logged == 1
