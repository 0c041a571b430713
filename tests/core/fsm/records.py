"""A pool's state, fed by records."""

from p2pool.codec.digests import task_id
from p2pool.codec.entries import Record, encode_body
from p2pool.codec.spec.spec import spec_json
from p2pool.core.fsm.apply import apply_entry
from p2pool.core.fsm.state import PoolState
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.ids import Address, AllocationId, NodeId, PoolRef, TaskId
from p2pool.model.log.entries import Placed, Placement, RequestApplied
from p2pool.model.log.raft import Entry

POOL = PoolRef(31337, Address(b"c" * 20), 0)
NODE, OTHER = NodeId(b"n" * 20), NodeId(b"o" * 20)
NOW_S = 1_700_000_000
MANAGER = Address(b"m" * 20)
GPU = "GPU-1"


def feed(state: PoolState, record: Record) -> None:
    kind, body = encode_body(record, state.level)
    apply_entry(state, Entry(state.applied_index + 1, 1, kind, NOW_S * 1000, body))


def request(action: Action, number: int, target: str = "", gpus: int = 0) -> TaskRequest:
    spec = {"name": f"t-{number}", "image": "busybox:1", "resources": {"gpu": {"count": gpus}}}
    text = {Action.SUBMIT: spec_json(spec), Action.SET: '{"value":"lan"}'}.get(action, "")
    return TaskRequest(action, 0, target, text, bytes([number]) * 32, NOW_S, NOW_S + 600)


def ask(state: PoolState, wanted: TaskRequest) -> TaskId:
    feed(state, RequestApplied(SignedRequest(wanted, b"s" * 65), NODE, MANAGER))
    return task_id(POOL, wanted)


def placed(name: TaskId, node: NodeId, *gpus: str, attempt: int = 1) -> Placement:
    return Placement((Placed(AllocationId(name, 0), attempt, node, gpus),))
