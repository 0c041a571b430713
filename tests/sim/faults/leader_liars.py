"""A leader that lies about the state and the log at the worst time, and a delegate that fills both.

The leader's own agent runs on as an honest one does; beside it frames under its key bring followers
a state that no quorum certified, or entries that nobody may write (`forge_snapshot`,
`forge_entries`). Half of the time the follower has just started anew, so that it holds all that it
ever will of what it promised, and hears the lie first. `write_junk` has the leader's own core
write such an entry, so that whoever took it would commit it with all others. `overfill` is no
member: an account that may only submit asks for more than a pool holds.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from eth_account import Account

from p2pool.codec.cbor.structs import encode_struct
from p2pool.codec.entries import encode_body, encode_snapshot
from p2pool.codec.spec.spec import spec_json
from p2pool.core import inputs
from p2pool.core.fsm.storage.rows import decode_state, encode_state
from p2pool.core.raft.acceptance import log_time
from p2pool.core.raft.state import RaftState
from p2pool.model import features, limits
from p2pool.model.access.delegations import Delegation, Scope
from p2pool.model.access.requests import Action, Signers, TaskRequest
from p2pool.model.errors import P2poolError
from p2pool.model.features import DISTRUST_LEVEL, FeatureLevel
from p2pool.model.ids import Address, Digest
from p2pool.model.log.entries import LevelRaised, Noop, RequestApplied, Setting
from p2pool.model.log.raft import Configuration, Entry, EntryKind, Snapshot
from p2pool.model.messages.raft import AppendRequested, SnapshotSent
from p2pool.model.ports.agent import SubmitCommand
from p2pool.model.tasks.spec import GpuRequest, Resources, TaskSpec
from p2pool.wire.typed_data import sign_delegation, sign_request
from tests.sim.faults.member_liars import tell, voter
from tests.sim.world.machine import Machine
from tests.sim.world.world import MANAGER, MANAGER_ADDRESS, POOL, WALL_MS

if TYPE_CHECKING:
    from tests.sim.faults.scenario import Story

DELEGATE = Account.from_key(b"\x78" * 32)
DELEGATE_ADDRESS = Address(bytes.fromhex(DELEGATE.address[2:]))
REFUSED = "a leader's entries are refused"
TIMES, EVERY_MS = 6, 300
BIG_COPIES, BIG_TEXT = 20, 8_000
FULL = {"STATE_COPIES_MAX": 60, "STATE_MAX_BYTES": 120_000}
"""The bounds of a pool in which a delegate can ask for more than fits."""

Body = tuple[int, bytes]


def _leader(s: Story) -> Machine | None:
    """A leader of at least three, at the level at which followers take no leader's word."""
    for m in s.world.machines:
        pool_log = m.node.context.pool_log if m.node is not None else None
        if pool_log is None or pool_log.state is None or not pool_log.leads:
            continue
        if len(pool_log.configuration.voters) > 2 and pool_log.state.level >= DISTRUST_LEVEL:
            return m
    return None


def _raft(m: Machine) -> RaftState | None:
    raft = m.node.context.pool_log.raft if m.node is not None else None
    return raft.state if raft is not None else None


def _beset(s: Story, lie: partial[None]) -> None:
    """Lie to a voter a few times; half of the time from the moment on at which it starts anew."""
    leader = _leader(s)
    at = _raft(leader) if leader is not None else None
    if leader is None or at is None:
        return
    s.world.perjured.add(leader.store_id)
    s.world.expected = (*s.world.expected, REFUSED)
    stores = [v.store_id for v in at.configuration.voters if v != at.me]
    victims = [m for m in s.world.machines if m.store_id in stores and m.node is not None]
    if not victims:
        return
    victim, delay_ms = s.rng.choice(victims), 0
    if s.rng.random() < 0.5:
        s.crash(victim)
        delay_ms = 50 + s.rng.randrange(2_000)
        s.later(delay_ms, partial(_start, s, victim))
    for n in range(TIMES):
        s.later(delay_ms + EVERY_MS * n, partial(lie, s, leader, victim))


def _start(s: Story, m: Machine) -> None:
    if m.node is None:
        s.world.start(m.number)


def _faces(leader: Machine, victim: Machine) -> tuple[RaftState, RaftState] | None:
    """The two logs, while the one leads the other as a voter of its log."""
    ours, theirs = _raft(leader), _raft(victim)
    pool_log = victim.node.context.pool_log if victim.node is not None else None
    state = pool_log.state if pool_log is not None else None
    if ours is None or theirs is None or state is None or state.level < DISTRUST_LEVEL:
        return None
    good = ours.leads and theirs.is_voter and ours.log_id == theirs.log_id
    return (ours, theirs) if good and ours.hard.term >= theirs.hard.term else None


# --- a state of its own making --------------------------------------------------------------------


def forge_snapshot(s: Story) -> None:
    """A leader sends a voter a state that nobody certified, of an index that is not there yet."""
    _beset(s, partial(_send_snapshot))


def _send_snapshot(s: Story, leader: Machine, victim: Machine) -> None:
    found = _faces(leader, victim)
    if found is None or leader.node is None:
        return
    ours, theirs = found
    pool_log = leader.node.context.pool_log
    if pool_log.state is None or ours.configuration.is_joint or ours.log.last_index == 0:
        return
    state = decode_state(encode_state(pool_log.state))
    if state.chain.voters != ours.configuration.settled:
        return
    term, index = ours.hard.term, max(ours.log.last_index, theirs.commit_index) + 1
    state.applied_index, state.applied_term = index, term
    state.history = Digest(s.rng.randbytes(32))
    made = Snapshot(
        log_id=ours.log_id,
        index=index,
        term=term,
        last_proposed_at_ms=log_time.last_ms(ours),
        configuration=ours.configuration,
        state=encode_state(state),
    )
    data = encode_snapshot(made)
    for begin in range(0, len(data), limits.SNAPSHOT_CHUNK_BYTES):
        part = data[begin : begin + limits.SNAPSHOT_CHUNK_BYTES]
        names = ours.log_id, term, voter(leader), voter(victim)
        tell(s, leader, victim, SnapshotSent(*names, index, term, begin, len(data), part))


# --- entries that nobody may write ----------------------------------------------------------------


def forge_entries(s: Story) -> None:
    """A leader sends a voter what contradicts its committed entries, and entries that are none."""
    _beset(s, partial(_send_entries))


def _send_entries(s: Story, leader: Machine, victim: Machine) -> None:
    found = _faces(leader, victim)
    if found is None:
        return
    ours, theirs = found
    if s.rng.random() < 0.5:
        frame = _contradiction(ours, theirs)
    else:
        frame = _bad_end(ours, theirs, _junk(s))
    if frame is not None:
        tell(s, leader, victim, frame)


def _contradiction(ours: RaftState, theirs: RaftState) -> AppendRequested | None:
    """Another entry in the place of one that is committed there."""
    index = theirs.commit_index
    before = theirs.log.term_at(index - 1)
    if index <= theirs.log.base_index or before is None:
        return None
    kind, body = encode_body(Noop(ours.me.node_id))
    entry = Entry(index, ours.hard.term, kind, log_time.last_ms(theirs) + 1, body)
    return _frame(ours, theirs, index - 1, before, entry)


def _bad_end(ours: RaftState, theirs: RaftState, bad: Body) -> AppendRequested | None:
    """A bad entry after all that the victim holds, committed, as it seems. None where a quorum
    certified more than that: a voter takes its leader's word for what that is."""
    last = theirs.log.last_index
    if last < theirs.certified_index:
        return None
    entry = Entry(last + 1, ours.hard.term, bad[0], log_time.last_ms(theirs), bad[1])
    return _frame(ours, theirs, last, theirs.log.last_term, entry)


def _frame(
    ours: RaftState, theirs: RaftState, previous: int, previous_term: int, entry: Entry
) -> AppendRequested:
    return AppendRequested(
        log_id=ours.log_id,
        term=ours.hard.term,
        leader=ours.me,
        follower=theirs.me,
        previous_index=previous,
        previous_term=previous_term,
        commit_index=entry.index,
        round=ours.round,
        entries=(entry,),
    )


def _junk(s: Story) -> Body:
    """A body that no honest leader writes."""
    beyond = FeatureLevel(features.newest() + 1)
    none = encode_struct(Configuration(()), DISTRUST_LEVEL)
    return s.rng.choice(
        (
            (int(EntryKind.CONFIGURATION), s.rng.randbytes(9)),
            (int(EntryKind.CONFIGURATION), none),
            (int(s.rng.choice(tuple(EntryKind))), s.rng.randbytes(s.rng.randrange(30))),
            _bad_setting(),
            encode_body(LevelRaised(beyond, "9.0.0")),
            _forged_request(s),
        )
    )


def _forged_request(s: Story) -> Body:
    """A setting in the manager's name, which a delegate signed."""
    now_s = (WALL_MS + s.world.now_ms) // 1000
    text = s.rng.choice(('{"value":"lan"}', '{"value":"wan"}'))
    name = s.rng.randbytes(32)
    wanted = TaskRequest(Action.SET, POOL.pool_id, "timing", text, name, now_s - 1, now_s + 600)
    signed = sign_request(POOL, DELEGATE, wanted)
    return encode_body(RequestApplied(signed, s.world.machines[0].node_id, MANAGER_ADDRESS))


def _bad_setting() -> Body:
    return encode_body(Setting("committee", "none"))


def write_junk(s: Story) -> None:
    """A leader's own core writes what nobody may; whoever takes it commits it like the others."""
    leader = _leader(s)
    if leader is None or leader.node is None or s.wiped or s.false_log:
        return
    s.false_log = True
    s.world.perjured.add(leader.store_id)
    s.world.expected = (*s.world.expected, REFUSED)
    kind = s.rng.choice((EntryKind.REQUEST, EntryKind.NODE, EntryKind.PLACEMENT))
    for bad in (_bad_setting(), (int(kind), s.rng.randbytes(9))):
        with suppress(P2poolError):
            leader.node.context.pool_log.propose(*bad, s.world.now(leader))


# --- a delegate -----------------------------------------------------------------------------------


def overfill(s: Story) -> None:
    """An account that may only submit asks for large tasks, which fit on no machine."""
    now_s = (WALL_MS + s.world.now_ms) // 1000
    given = Delegation(POOL.pool_id, DELEGATE_ADDRESS, Scope.SUBMIT, now_s - 1, now_s + 3_600)
    grant = sign_delegation(POOL, MANAGER, given)
    for n in range(8):
        spec = TaskSpec(
            name=f"large-{s.world.now_ms}-{n}",
            image="image",
            command=("run", "0", "0"),
            environment=(("A", "x" * (BIG_TEXT if n % 2 else 1)),),
            resources=Resources(gpu=GpuRequest(8)),
            replicas=1 if n % 2 else BIG_COPIES,
        )
        request = TaskRequest(
            Action.SUBMIT,
            POOL.pool_id,
            "",
            spec_json(spec),
            s.rng.randbytes(32),
            now_s - 1,
            now_s + 600,
        )
        command = SubmitCommand(sign_request(POOL, DELEGATE, request, grant), DELEGATE_ADDRESS)
        number = ASKED_FROM + s.rng.randrange(10**6)
        running = [m for m in s.world.machines if m.node is not None]
        if running:
            signers = Signers(DELEGATE_ADDRESS, MANAGER_ADDRESS)
            s.world.give(s.rng.choice(running), inputs.Asked(number, command, signers))


ASKED_FROM = 10**7
"""Numbers of requests that no promise of a seed is about."""
