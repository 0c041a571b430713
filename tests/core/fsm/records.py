"""A pool's state, fed by records."""

from p2pool.codec.entries import Record, encode_body
from p2pool.core.fsm.apply import apply_entry
from p2pool.core.fsm.state import PoolState
from p2pool.model.ids import Address, NodeId, PoolRef
from p2pool.model.log.raft import Entry

POOL = PoolRef(31337, Address(b"c" * 20), 0)


NODE, OTHER = NodeId(b"n" * 20), NodeId(b"o" * 20)


NOW_S = 1_700_000_000


def feed(state: PoolState, record: Record) -> None:
    kind, body = encode_body(record)
    apply_entry(state, Entry(state.applied_index + 1, 1, kind, NOW_S * 1000, body))
