"""States with something in every table, and whatever a leader could write into their log."""

from collections.abc import Iterator
from functools import cache
from random import Random

import attrs

from p2pool.codec.digests import task_id
from p2pool.codec.entries import Record, encode_body
from p2pool.codec.spec.secrets import renewal_json
from p2pool.codec.spec.spec import spec_json
from p2pool.core.fsm.apply import apply, apply_entry
from p2pool.core.fsm.state import PoolState
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.errors import Malformed
from p2pool.model.features import BASE_LEVEL, FeatureLevel
from p2pool.model.ids import AllocationId, NodeId, TaskId
from p2pool.model.log import entries
from p2pool.model.log.raft import Configuration, Entry, Voter
from p2pool.model.states import AllocationState, Intent, Membership, Reachability, StartRefusal
from tests.core.fsm.records import MANAGER, NODE, NOW_S, OTHER, POOL
from tests.raft.harness.cluster import voter

NODES = (NODE, OTHER)
GPUS = ("GPU-1", "GPU-2", "GPU-3")
SECRETS = {"digest": "ab" * 32, "size_bytes": 5, "uses": [{"name": "db"}]}
SPECS = (
    {"replicas": 3, "deadline_s": 60},
    {"replicas": 2, "gang": True, "resources": {"gpu": {"count": 1}}},
    {"system": True},
    {"resources": {"gpu": {"count": 1}}},
    {"secrets": SECRETS},
)
EDGES = (0, 1, 2, -1, 2**53, 2**54, 2**62, 2**63 - 1)


@cache
def signed(number: int, action: Action = Action.SUBMIT, target: str = "") -> SignedRequest:
    """A request of that number; a submission asks for one of the tasks."""
    keys = {"name": f"t-{number}", "image": "busybox:1", **SPECS[number % len(SPECS)]}
    text = {Action.SUBMIT: spec_json(keys), Action.SET: '{"value":"lan"}'}.get(action, "")
    if action is Action.REVOKE:
        text = '{"stopRunning": true}'
    if action is Action.SET_SECRET:
        text = renewal_json(SECRETS, restart=number % 2 == 0)
    wanted = TaskRequest(action, 0, target, text, bytes([number]) * 32, NOW_S, NOW_S + 600)
    return SignedRequest(wanted, b"s" * 65)


@cache
def name_of(number: int) -> TaskId:
    """The task that a submission of that number asks for."""
    return task_id(POOL, signed(number).request)


def taken(state: PoolState, record: Record, at_ms: int = NOW_S * 1000) -> None:
    """The next entry, as every replica takes it (`core.log.pool_log`)."""
    kind, body = encode_body(record, state.level)
    entry = Entry(state.applied_index + 1, 1 + state.applied_index // 50, kind, at_ms, body)
    try:
        apply_entry(state, entry)
    except Malformed:
        apply(state, entry, None)


def any_record(state: PoolState, rng: Random) -> Record:
    """What a leader might write next, as it should or to do harm: most of it about what the state
    holds, so that most of it has an effect."""
    copies = [copy.allocation for copy in state.all_allocations()]
    stray = [(s.allocation, s.attempt) for s in state.strays.values()]
    name = rng.choice([*copies, AllocationId(name_of(rng.randrange(8)), rng.choice((0, 1, -1)))])
    copy, node = state.allocation(name), rng.choice(NODES)
    attempt = copy.attempt if copy is not None else 0
    match rng.randrange(11):
        case 0:
            return entries.RequestApplied(signed(rng.randrange(8)), NODE, MANAGER)
        case 1 | 2 | 3:
            new = rng.choice((attempt + 1, attempt + 1, attempt + 1, *EDGES))
            task = state.tasks.get(name.task_id)
            wanted = task.spec.resources.gpu.count if task is not None else 0
            gpus = tuple(rng.sample(GPUS, wanted if rng.random() < 0.9 else 1 - wanted))
            return entries.Placement((entries.Placed(name, new, node, gpus),))
        case 4 | 5 | 6:
            at = copy.node_id if copy is not None and copy.node_id is not None else node
            becomes = rng.choice(list(AllocationState))
            told = entries.Outcome(name, attempt, becomes, rng.choice(("", "x")))
            if state.level > BASE_LEVEL and rng.random() < 0.3:
                told = attrs.evolve(told, refused=rng.choice(list(StartRefusal)))
            said = [told]
            said += [entries.Outcome(*one, becomes) for one in stray]
            return entries.ReportApplied(at, tuple(said))
        case 7:
            reachability = rng.choice((*Reachability, *[Reachability.HEALTHY] * 4))
            return entries.NodeChanged(node, reachability, rng.choice(list(Intent)))
        case 8:
            moved = entries.NodeMoved(node, rng.choice(list(Membership)), "", rng.random() < 0.2)
            return entries.NodesMoved((moved,))
        case 9:
            return _request(rng, name.task_id, node)
        case _:
            return _other(rng, name, node, state.level)


def _request(rng: Random, task: TaskId, node: NodeId) -> Record:
    action = rng.choice((*Action, *[Action.RESUME] * 4, *[Action.UNBAN] * 4))
    target = {
        Action.STOP: task.hex(),
        Action.SET_SECRET: task.hex(),
        Action.SET: "timing",
        Action.REVOKE: MANAGER.hex(),
    }
    asked = signed(rng.randrange(8, 250), action, target.get(action, node.hex()))
    return entries.RequestApplied(asked, NODE, MANAGER)


def _other(rng: Random, name: AllocationId, node: NodeId, level: FeatureLevel) -> Record:
    voters: tuple[Voter, ...] = tuple(sorted(voter(n) for n in rng.sample(range(1, 6), 3)))
    joint = (voter(1), voter(2)) if level > BASE_LEVEL and rng.random() < 0.3 else ()
    number = rng.randrange(8)
    return rng.choice(
        (
            Configuration(voters[: rng.randrange(4)], (), joint),
            Configuration(voters),
            entries.Adopted(
                node_id=node,
                allocation=AllocationId(name_of(number), rng.choice((0, 1, -1))),
                attempt=rng.choice((1, 5, *EDGES)),
                signed=signed(number),
                gpus=rng.choice(((), GPUS[:1])),
                signer=MANAGER,
            ),
            entries.ReplacementHeld(rng.choice(EDGES)),
            entries.ChangeCertified(rng.randrange(40), ()),
            entries.Setting("timing", "wan"),
            entries.Certify(voter(1), 0),
            entries.Noop(node),
        )
    )


def histories(rng: Random, length: int, level: FeatureLevel) -> Iterator[PoolState]:
    """A state, again after each entry of such a log."""
    state = PoolState(POOL, 1, level=level)
    taken(state, Configuration((voter(1),)))
    for number in range(4):
        taken(state, entries.RequestApplied(signed(number), NODE, MANAGER))
    for number in range(length):
        taken(state, any_record(state, rng), NOW_S * 1000 + rng.choice((0, number, number * 5_000)))
        yield state


def full(level: FeatureLevel) -> PoolState:
    """One with a row in every table, and copies that wait, run, stop, are lost and left behind."""
    state = next(histories(Random(0), 1, level))
    plain, gang, system, single = (name_of(number) for number in range(4))

    def place(*copies: tuple[TaskId, int, int, NodeId, tuple[str, ...]]) -> None:
        made = [entries.Placed(AllocationId(t, r), n, node, g) for t, r, n, node, g in copies]
        taken(state, entries.Placement(tuple(made)))

    def report(node: NodeId, task: TaskId, replica: int, becomes: AllocationState) -> None:
        said = entries.Outcome(AllocationId(task, replica), 1, becomes, "x")
        taken(state, entries.ReportApplied(node, (said,)))

    place((plain, 0, 1, NODE, ()), (plain, 1, 1, NODE, ()))
    place((gang, 0, 1, NODE, GPUS[:1]), (gang, 1, 1, OTHER, GPUS[:1]))
    place((system, 0, 1, NODE, ()), (single, 0, 1, NODE, GPUS[1:2]))
    report(NODE, plain, 0, AllocationState.RUNNING)
    report(NODE, plain, 1, AllocationState.LOST)
    place((plain, 1, 2, OTHER, ()))
    report(NODE, single, 0, AllocationState.LOST)
    report(NODE, gang, 0, AllocationState.STOPPING)
    if level > BASE_LEVEL:
        refused = entries.Outcome(
            allocation=AllocationId(plain, 1),
            attempt=2,
            state=AllocationState.STOPPED,
            reason="x",
            refused=StartRefusal.LASTING,
        )
        taken(state, entries.ReportApplied(OTHER, (refused,)))
        place((plain, 1, 3, NODE, ()))
    unreachable = entries.NodeChanged(OTHER, Reachability.UNREACHABLE, Intent.ELIGIBLE, "x")
    for record in (
        unreachable,
        entries.NodesMoved((entries.NodeMoved(NODE, Membership.ONBOARDING),)),
        entries.Setting("timing", "wan"),
        entries.Revocation(MANAGER, NOW_S, False, state.history),
        Configuration((voter(1), voter(2))),
        Configuration((voter(1), voter(2), voter(3))),
        entries.ReplacementHeld(NOW_S * 1000, "x"),
    ):
        taken(state, record)
    assert len(state.chain.links) == 2
    assert state.strays
    return state
