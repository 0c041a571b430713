"""No node gets more copies than one order holds, whatever a leader writes into the log."""

import attrs
import pytest

from p2pool.codec.payloads import encode_payload
from p2pool.codec.spec.spec import spec_json
from p2pool.core.fsm.adoption import ClaimVerdict, judge_claim
from p2pool.core.fsm.order_room import order_bytes
from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.storage.rows import decode_state, encode_state
from p2pool.core.leader.orders import compose, left_out
from p2pool.model import limits
from p2pool.model.access.delegations import Delegation, Quota, Scope, SignedDelegation
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel
from p2pool.model.ids import Address, AllocationId, NodeId, TaskId, Token
from p2pool.model.log.entries import Placed, Placement
from p2pool.model.messages.work import Order, Stop
from tests.core.fsm.records import NODE, NOW_S, OTHER, POOL, ask, feed
from tests.wire.samples import HEADER

LONGEST = Delegation(
    pool_id=2**63 - 1,
    delegate=Address(b"d" * 20),
    scope=Scope.ADMIN,
    not_before_s=2**63 - 2,
    not_after_s=2**63 - 1,
    quota=Quota(
        max_gpus=limits.QUOTA_NUMBER_MAX,
        max_cpu_milli=limits.QUOTA_NUMBER_MAX,
        max_replicas=limits.QUOTA_NUMBER_MAX,
        max_priority=limits.PRIORITY_MAX,
        name_prefix="x" * limits.TASK_NAME_MAX_BYTES,
    ),
)
MOST = limits.ALLOCATIONS_PER_NODE_MAX
TOKEN = Token(1, 9, 10**6)


def submit(state: PoolState, number: int, replicas: int, **keys: object) -> TaskId:
    """A task of so many copies."""
    given = {"name": f"t-{number}", "image": "busybox:1", "replicas": replicas, **keys}
    text = spec_json(given)
    wanted = TaskRequest(Action.SUBMIT, 0, "", text, bytes([number]) * 32, NOW_S, NOW_S + 600)
    return ask(state, wanted)


def place(
    state: PoolState, task: TaskId, replicas: range, node: NodeId = NODE, gpus: int = 0
) -> None:
    """A leader's placement of these copies on one node, each with GPUs of long names."""
    feed(
        state,
        Placement(
            tuple(
                Placed(
                    AllocationId(task, n),
                    1,
                    node,
                    tuple(f"{n}-{gpu}-".ljust(limits.NAME_MAX_BYTES, "g") for gpu in range(gpus)),
                )
                for n in replicas
            )
        ),
    )


def overfull(level: FeatureLevel = BASE_LEVEL) -> PoolState:
    """A node with 768 copies, as a careless leader could leave it below that level."""
    state = PoolState(POOL, 1, level=level)
    task = submit(state, 1, 768)
    place(state, task, range(400))
    place(state, task, range(400, 768))
    return state


def size(order: Order) -> int:
    """What an order takes on the wire; raises if it is over its own bounds."""
    return len(encode_payload(HEADER, order))


@pytest.mark.parametrize("level", [BASE_LEVEL, DISTRUST_LEVEL])
def test_a_placement_beyond_an_order_applies_as_nothing(level: FeatureLevel) -> None:
    """By the number of copies, in one entry or in several; earlier levels took any number."""
    state = overfull(level)
    assert len(state.holders(NODE)) == (768 if level == BASE_LEVEL else 400)
    place(state, submit(state, 2, 1), range(1), OTHER)
    assert len(state.holders(OTHER)) == 1


def test_long_specifications_fill_an_order_sooner() -> None:
    """All copies of an entry on one node count together, those on others apart."""
    state = PoolState(POOL, 1, level=DISTRUST_LEVEL)
    task = submit(state, 1, 30, env={"LONG": "x" * 31_000})
    place(state, task, range(26))
    assert not state.holders(NODE)
    place(state, task, range(20))
    place(state, task, range(20, 30))
    assert len(state.holders(NODE)) == 20
    place(state, task, range(20, 30), OTHER)
    assert len(state.holders(OTHER)) == 10
    assert size(compose(state, NODE, TOKEN, ())) < limits.STREAM_FRAME_MAX_BYTES


def test_gpus_that_no_machine_has_fill_an_order_sooner() -> None:
    """A leader may invent their names, which are long."""
    state = PoolState(POOL, 1, level=DISTRUST_LEVEL)
    task = submit(state, 1, 40, resources={"gpu": {"count": 32}})
    for replica in range(40):
        place(state, task, range(replica, replica + 1), gpus=32)
    assert len(state.holders(NODE)) == limits.GPUS_PER_NODE_MAX // 32
    assert size(compose(state, NODE, TOKEN, ())) < limits.STREAM_FRAME_MAX_BYTES


def test_no_copy_is_adopted_onto_a_full_node() -> None:
    """It runs on there, and claims again."""
    state = PoolState(POOL, 1, level=DISTRUST_LEVEL)
    task = submit(state, 1, MOST + 1)
    place(state, task, range(MOST))
    assert len(state.holders(NODE)) == MOST
    signed = state.tasks[task].record.signed
    name = AllocationId(task, MOST)
    for node, found in ((NODE, ClaimVerdict.LEAVE), (OTHER, ClaimVerdict.ADOPT)):
        assert judge_claim(state, node, name, 2, signed, ()) is found


def test_a_leader_orders_what_fits_of_an_overfull_node() -> None:
    """The copies that were placed first; from an old snapshot it may find more than fit."""
    state = decode_state(encode_state(overfull()))
    order = compose(state, NODE, TOKEN, ())
    assert size(order) < limits.STREAM_FRAME_MAX_BYTES
    assert (len(order.desired), left_out(state, order)) == (MOST, 768 - MOST)
    assert [d.allocation.replica for d in order.desired] == list(range(MOST))


def test_the_longest_order_has_room_in_a_frame() -> None:
    """Every copy and GPU, submissions as long as may be under quotas with every limit, as many
    stops, and a certificate."""
    state = PoolState(POOL, 1, level=DISTRUST_LEVEL)
    task = submit(state, 1, MOST, env={"LONG": "x" * 1_100})
    place(state, task, range(MOST))
    order = compose(state, NODE, TOKEN, ())
    assert len(order.desired) == MOST
    stops = tuple(Stop(AllocationId(task, 2**40 + n), 2**40) for n in range(MOST))
    gpus = tuple(str(n).ljust(limits.NAME_MAX_BYTES, "g") for n in range(limits.GPUS_PER_NODE_MAX))
    under = SignedDelegation(LONGEST, b"d" * 65)
    signed = attrs.evolve(order.desired[0].signed, delegation=under)
    first, *others = (attrs.evolve(d, attempt=2**40, signed=signed) for d in order.desired)
    desired = (attrs.evolve(first, gpus=gpus), *others)
    spent = len(desired) * order_bytes(signed)
    words = (b"w" * limits.SEALED_SIGNATURE_MAX_BYTES,) * (limits.VOTERS_MAX + 1)
    most = attrs.evolve(order, desired=desired, stops=stops, certificate=words)
    rest = limits.ORDER_SPECS_MAX_BYTES - spent
    assert rest >= 0
    assert size(most) + rest < limits.STREAM_FRAME_MAX_BYTES - limits.ENVELOPE_OVERHEAD_MAX_BYTES


def test_stops_that_a_node_draws_do_not_crowd_out_its_order() -> None:
    """It may report any copies that nobody knows, besides those that the state stops."""
    state = PoolState(POOL, 1, level=DISTRUST_LEVEL)
    task = submit(state, 1, 2)
    place(state, task, range(2))
    strange = TaskId(b"\x00" * 16)
    stop = TaskRequest(Action.STOP, 0, task.hex(), "", b"q" * 32, NOW_S, NOW_S + 600)
    ask(state, stop)
    unwanted = tuple(Stop(AllocationId(strange, n), 1) for n in range(MOST))
    order = compose(state, NODE, TOKEN, unwanted)
    assert size(order) < limits.STREAM_FRAME_MAX_BYTES
    assert {Stop(AllocationId(task, n), 1) for n in range(2)} <= set(order.stops)


def test_what_is_not_a_submission_for_the_pool_is_measured_too() -> None:
    """A target is empty in a submission; nothing says so but whoever signs it."""
    state = PoolState(POOL, 1, level=DISTRUST_LEVEL)
    text = spec_json(
        {"name": "t", "image": "busybox:1", "replicas": MOST, "env": {"A": "x" * 1_000}}
    )
    wanted = TaskRequest(
        Action.SUBMIT, 0, "t" * limits.TEXT_MAX_BYTES, text, b"1" * 32, NOW_S, NOW_S + 600
    )
    task = ask(state, wanted)
    place(state, task, range(MOST))
    place(state, task, range(300))
    assert len(state.holders(NODE)) == 300
    assert size(compose(state, NODE, TOKEN, ())) < limits.STREAM_FRAME_MAX_BYTES


def test_a_signature_is_measured_with_its_submission() -> None:
    """A contract's may be long."""
    state = PoolState(POOL, 1, level=DISTRUST_LEVEL)
    task = submit(state, 1, MOST, env={"LONG": "x" * 600})
    record = state.tasks[task].record
    long = SignedRequest(record.signed.request, b"s" * limits.ACCOUNT_SIGNATURE_MAX_BYTES)
    kept = attrs.evolve(record, signed=long)
    state.put_task(attrs.evolve(state.tasks[task], record=kept))
    place(state, task, range(MOST))
    place(state, task, range(200), OTHER)
    assert not state.holders(NODE)
    assert len(state.holders(OTHER)) == 200
