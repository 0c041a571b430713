"""Agents of two versions in one pool: the level rises when everybody with a seat knows the next."""

from collections.abc import Iterator

import attrs
import pytest

from p2pool.core.feature_levels import pool_level
from p2pool.core.leader import feature_level
from p2pool.core.log.pool_log import PoolLog
from p2pool.core.node_status import NodeStatus
from p2pool.core.worker import attempt
from p2pool.model import messages as m
from p2pool.model.errors import BadSpec, TooOld
from p2pool.model.features import BASE_LEVEL, FeatureLevel
from p2pool.model.log.raft import Entry, EntryKind
from p2pool.model.messages.registry import DECLARATIONS
from p2pool.model.ports.agent import Accepted
from p2pool.model.tasks.spec import TaskSpec
from tests.codec.next_version import next_version
from tests.sim.harness.rolling_upgrade import NEXT, Upgrading
from tests.sim.invariants.liveness import disagreement
from tests.sim.world.disk import Disk
from tests.sim.world.machine import Machine
from tests.sim.world.violation import Violation

pytestmark = pytest.mark.usefixtures("as_first_version")


@pytest.fixture(autouse=True)
def two_levels() -> Iterator[None]:
    """The next version exists."""
    with next_version(NEXT):
        yield


@pytest.mark.parametrize("seed", range(3))
def test_a_pool_is_upgraded_under_load(seed: int) -> None:
    """Agent by agent, with crashes: nothing is lost, the level rises once, replicas agree."""
    pool = Upgrading.formed(seed)
    name = pool.run_task(0, replicas=3)
    pool.upgrade_under_load()
    pool.until(lambda: pool.levels() == [NEXT] * 5)
    pool.until(lambda: not disagreement(pool.world))
    node = pool.leader().node
    assert node is not None
    assert node.context.pool_log.state is not None
    assert {c.attempt for c in node.context.pool_log.state.of_task(name)} == {1}
    assert node.context.pool_log.state.level_version == f"0.{NEXT + 1}.0"
    assert isinstance(pool.reply(pool.run_request(1)), Accepted)


def test_the_level_waits_for_the_last_seat() -> None:
    """With one old voter left it stays, and the pool says whom it waits for; then it rises."""
    pool = Upgrading.formed(7)
    *rest, last = pool.seated()
    for number in rest:
        pool.install(number, NEXT)
        pool.world.run(20_000)
    assert set(pool.levels()) == {BASE_LEVEL}
    view = pool.node(rest[0]).view(pool.world.now())
    old = pool.world.machines[last].node_id
    assert [(one.node_id, one.feature_level) for one in view.lagging] == [(old, BASE_LEVEL)]
    pool.install(last, NEXT)
    pool.until(lambda: NEXT in pool.levels())
    view = pool.node(rest[0]).view(pool.world.now())
    assert view.lagging == ()


def test_a_pool_of_one_version_writes_nothing_of_levels() -> None:
    """No entry, however long it runs; nobody is said to lag."""
    pool = Upgrading.formed(3, 3)
    pool.world.run(60_000)
    log = pool.node(0).context.pool_log
    assert log.raft is not None
    assert all(e.kind != EntryKind.FEATURE_LEVEL for e in log.raft.state.log.entries)
    assert pool.node(0).view(pool.world.now()).lagging == ()


def upgraded(seed: int) -> Upgrading:
    """A pool at the next level."""
    pool = Upgrading.formed(seed)
    for number in range(5):
        pool.install(number, NEXT)
        pool.world.run(10_000)
    pool.until(lambda: pool.levels() == [NEXT] * 5)
    return pool


def test_an_old_program_refuses_the_disk_of_a_newer_one() -> None:
    """It does not begin at all, and says what the pool is at, and what to install."""
    pool = upgraded(7)
    number = pool.other().number
    pool.world.crash(number)
    pool.world.known[number] = BASE_LEVEL
    refused = pool.refused(number)
    assert refused is not None
    assert str(refused) == (
        "The pool is at feature level 2, and this version of p2pool knows levels up to 1: it "
        "withdraws from the pool. Install p2pool 0.3.0 or later on this machine, then start the "
        "agent again; another agent's `p2pool node ls` shows what the others run."
    )


def test_what_an_older_program_cannot_read_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order kept here has a key of the next level: people hear of versions, not of that key."""
    pool = upgraded(7)
    pool.run_task(0, replicas=5)
    number = pool.other().number
    pool.world.crash(number)

    def unknown(text: str, level: FeatureLevel) -> TaskSpec:
        raise BadSpec("unknown key")

    monkeypatch.setattr(attempt, "parse_spec", unknown)
    with pytest.raises(BadSpec):
        pool.world.start(number)
    pool.world.known[number] = BASE_LEVEL
    assert isinstance(pool.refused(number), TooOld)


def test_an_old_program_stops_where_the_level_rises() -> None:
    """A member without a seat was not waited for: it applies nothing beyond, falls silent, says
    what to do, leaves its containers alone, and goes on with a newer program."""
    pool = Upgrading.formed(7)
    pool.run_task(0, replicas=5, reconnect_window_s=3600)
    number, other = (n for n in range(5) if n not in pool.seated())
    for seat in pool.seated():
        pool.install(seat, NEXT)
        pool.world.run(10_000)
    pool.until(lambda: pool.node(number).context.status.value is NodeStatus.TOO_OLD)
    old = pool.node(number)
    assert pool_level(old.context) == BASE_LEVEL
    applied = old.context.pool_log.applied_index
    running = pool.running(number)
    pool.world.run(20_000)
    assert (old.context.pool_log.applied_index, pool.running(number)) == (applied, running)
    problems = old.view(pool.world.now()).problems
    assert "Install p2pool 0.3.0 or later" in problems[0]
    told = pool.node(pool.seated()[0]).view(pool.world.now()).node(old.context.me)
    assert told is not None
    assert "it runs p2pool 0.2.0, which knows feature levels up to 1" in told.reason
    for late in (number, other):
        pool.install(late, NEXT)
    pool.until(lambda: pool.levels() == [NEXT] * 5)
    pool.until(lambda: not disagreement(pool.world))
    assert pool.running(number) == running == 1


def test_who_is_too_old_gets_no_seat() -> None:
    """Of two members without a seat the one that knows the level takes that of a voter that is
    gone, and the old one, on a new disk, gets none even where nobody else is left."""
    pool = upgraded(7)
    seated = pool.seated()
    outside = [n for n in range(5) if n not in seated]
    old = outside[0]
    pool.world.crash(old)
    machine = pool.world.machines[old]
    machine.disk = Disk(machine.disk.store_id)
    pool.world.known[old] = BASE_LEVEL
    pool.world.start(old)
    pool.world.crash(seated[0])
    pool.until(lambda: outside[1] in pool.seated(), 180_000)
    pool.world.crash(outside[1])
    pool.world.run(180_000)
    assert old not in pool.seated()


def test_a_level_raised_too_early_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot fail shows nothing: a leader that does not ask the others is told on."""
    monkeypatch.setattr(feature_level, "next_level", lambda context, now: NEXT)
    pool = Upgrading.formed(7)
    with pytest.raises(Violation, match=r"beyond its program|which this version does not know"):
        pool.upgrade_under_load()


def decide_anew(monkeypatch: pytest.MonkeyPatch, *, asks: bool) -> None:
    """Have the next version note requests in the state; it may forget to ask for the level."""
    apply = PoolLog._apply

    def later(self: PoolLog, entry: Entry) -> None:
        apply(self, entry)
        state = self.state
        assert state is not None
        applied = entry.index == state.applied_index and entry.kind == EntryKind.REQUEST
        if applied and self.newest_level == NEXT and (state.level >= NEXT or not asks):
            state.settings["committee-note"] = str(entry.index)
            state.known_digest = None

    monkeypatch.setattr(PoolLog, "_apply", later)


def upgraded_while_asked() -> Upgrading:
    """Three agents become the next version, and people ask for something after each."""
    pool = Upgrading.formed(7, 3)
    for number in pool.seated():
        pool.install(number, NEXT)
        pool.world.run(8_000)
        pool.run_request(number)
        pool.world.run(4_000)
    pool.until(lambda: pool.levels() == [NEXT] * 3)
    pool.run_request(0)
    pool.until(lambda: not disagreement(pool.world))
    return pool


def test_a_decision_that_asks_for_its_level_parts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below it both decide in the old way, from it on all in the new one."""
    decide_anew(monkeypatch, asks=True)
    state = upgraded_while_asked().node(0).context.pool_log.state
    assert state is not None
    assert "committee-note" in state.settings


def test_a_decision_that_does_not_ask_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot fail shows nothing: a member that decides in the new way below the level."""
    decide_anew(monkeypatch, asks=False)
    with pytest.raises(Violation):
        upgraded_while_asked()


def test_a_later_message_is_sent_from_its_level_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before, although the program that would send it knows it."""
    cls = m.HeartbeatsRequested
    monkeypatch.setitem(DECLARATIONS, cls, attrs.evolve(DECLARATIONS[cls], since=NEXT))
    sent: list[int] = []

    def note(at: Machine, to: Machine | None, message: m.Message) -> None:
        if isinstance(message, cls):
            sent.append(at.number)

    pool = Upgrading.formed(7, 3)
    pool.world.on_send.append(note)
    for number in pool.seated():
        pool.install(number, NEXT)
        pool.world.run(10_000)
        assert sent == []
    pool.until(lambda: pool.levels() == [NEXT] * 3)
    pool.install(0, NEXT)
    pool.world.run(10_000)
    assert 0 in sent
