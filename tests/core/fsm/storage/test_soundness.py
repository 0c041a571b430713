"""What is taken for a state harms nobody who goes on from it, and every log leads to such a one."""

from copy import deepcopy
from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from p2pool.codec.cbor import canonical
from p2pool.codec.payloads import encode_payload
from p2pool.core.fsm.order_room import room_on
from p2pool.core.fsm.state import Allocation, PoolState
from p2pool.core.fsm.storage.rows import decode_state, digest_of, encode_state
from p2pool.core.fsm.storage.soundness import flaw
from p2pool.core.leader import decisions
from p2pool.core.leader.orders import compose, left_out
from p2pool.core.leader.reports import changes
from p2pool.core.scheduler.plan import plan
from p2pool.core.view import Heard, task_view
from p2pool.model import limits
from p2pool.model.errors import Refusal
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel
from p2pool.model.ids import AllocationId, Token
from p2pool.model.log.entries import Outcome
from p2pool.model.ports.view import NodeTable
from p2pool.model.states import AllocationState, Reachability
from p2pool.model.timing import Now
from tests.core.fsm.records import NODE, NOW_S
from tests.core.fsm.storage.any_history import NODES, any_record, full, histories, name_of, taken
from tests.core.scheduler.planning import card, offer
from tests.wire.samples import HEADER

LEVELS = (BASE_LEVEL, DISTRUST_LEVEL)
EXAMPLES = settings(max_examples=150)
seeds = st.integers(0, 2**32)


@pytest.mark.parametrize("level", LEVELS)
@given(seeds)
@EXAMPLES
def test_every_log_leads_to_a_sound_state(level: FeatureLevel, seed: int) -> None:
    """Whatever its leaders write, at each entry, and again after a snapshot."""
    for state in histories(Random(seed), 120, level):
        assert flaw(state) is None
    assert flaw(decode_state(encode_state(state))) is None


@cache
def good(level: FeatureLevel) -> bytes:
    return encode_state(full(level))


def mutated(data: bytes, rng: Random) -> bytes:
    """The same rows but for a few values, or with a row less, twice or elsewhere."""
    items: Any = canonical.decode(data)
    header, rows = items[:2], items[2:]
    values = [canonical.decode(row[3]) for row in rows]
    for _ in range(rng.choice((1, 1, 2, 3))):
        number = rng.randrange(len(rows))
        same = [at for at, row in enumerate(rows) if row[0] == rows[number][0]]
        match rng.randrange(8):
            case 0:
                del rows[number], values[number]
            case 1:
                values[number] = deepcopy(values[rng.choice(same)])
            case _:
                spoil(values[number], values[rng.choice(same)], rng)
    for row, value in zip(rows, values, strict=True):
        row[3] = canonical.encode(value)
    return canonical.encode([*header, *rows])


NUMBERS = (0, 1, 2, 3, 5, 6, 7, 8, 9, -1, 2**53, 2**54, 2**62, 2**63 - 1, 2**64 - 1)


def spoil(value: Any, like: Any, rng: Random) -> None:
    """Change one value inside, to an extreme or to what stands there in a row like it."""
    while isinstance(value, list) and value:
        at = rng.randrange(len(value))
        other = like[at] if isinstance(like, list) and at < len(like) else None
        if not isinstance(value[at], list) or not value[at] or rng.random() < 0.2:
            value[at] = rng.choice((other, other, *_others(value[at])))
            return
        value, like = value[at], other


def _others(value: Any) -> tuple[Any, ...]:
    """What may stand in a value's place, mostly."""
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return NUMBERS
    return (None, [], "", bytes(NODE), bytes(NODES[1]))


def use(state: PoolState, rng: Random) -> None:
    """What a node does with a state: shows it, plans on it, orders from it, hears reports of it."""
    for task in state.tasks.values():
        task_view(state, task, {}, Heard(NODE, NodeTable()))
    offers = tuple(
        offer(int.from_bytes(node, "big"), card("GPU-1"), card("GPU-4")) for node in NODES
    )
    for node in state.occupied_nodes():
        order = compose(state, node, Token(1, 9, state.applied_index), ())
        encode_payload(HEADER, order)
        assert left_out(state, order) >= 0
        assert room_on(state, node).copies == len(state.holders(node))
        for name, attempt in [(c.allocation, c.attempt) for c in state.on_node(node)]:
            changes(state, node, Outcome(name, attempt, rng.choice(list(AllocationState)), "x"))
    now = Now(0, NOW_S * 1000 + 10**7)
    decisions.undelivered(state, state.occupied_nodes(), now)
    decisions.adopting(state, now)
    for placement in plan(state, offers).placements:
        taken(state, placement)
    for _ in range(min(25, limits.LOG_NUMBER_MAX - state.applied_index)):
        taken(state, any_record(state, rng), NOW_S * 1000 + rng.choice((0, 10**5, 10**8)))
    assert flaw(state) is None
    assert decode_state(encode_state(state)).applied_index == state.applied_index
    assert digest_of(state)


@pytest.mark.parametrize("level", LEVELS)
@given(seeds)
@example(90464)  # a copy whose attempts were used up: the next one had a number that is none
@EXAMPLES
def test_what_is_taken_for_a_state_can_be_used(level: FeatureLevel, seed: int) -> None:
    """Any few values of its rows may be others: it is refused, or nothing that follows raises."""
    rng = Random(seed)
    try:
        state = decode_state(mutated(good(level), rng))
    except Refusal:
        return
    if flaw(state) is None:
        use(state, rng)


def test_some_mutations_are_taken_and_some_refused() -> None:
    """So that the test above is one."""
    found = {"refused": 0, "flawed": 0, "taken": 0}
    for seed in range(300):
        try:
            state = decode_state(mutated(good(DISTRUST_LEVEL), Random(seed)))
            found["taken" if flaw(state) is None else "flawed"] += 1
        except Refusal:
            found["refused"] += 1
    assert min(found.values()) > 10, found


def of(**fields: Any) -> Allocation:
    return Allocation(AllocationId(name_of(0), 0), **fields)


@pytest.mark.parametrize(
    ("copy", "words"),
    [
        (of(state=AllocationState.LOST), "lost on no node"),
        (of(state=AllocationState.RUNNING), "running on no node"),
        (of(node_id=NODE, attempt=1), "waits for a place and has one"),
        (of(attempt=-1), "a number that is none"),
        (Allocation(AllocationId(name_of(0), -1)), "a number that is none"),
        (of(gpus=("GPU-1",)), "holds GPUs of no node"),
    ],
)
def test_a_copy_that_no_log_leads_to_is_named(copy: Allocation, words: str) -> None:
    """Placed or not, in its state, attempt and node alike."""
    state = decode_state(good(DISTRUST_LEVEL))
    assert flaw(state) is None
    state.put(copy)
    assert words in (flaw(state) or "")


def test_a_node_that_nobody_could_heal_is_named() -> None:
    """No entry leads away from one observer's suspicion."""
    state = decode_state(good(DISTRUST_LEVEL))
    (node, *_) = state.nodes.values()
    state.nodes[node.node_id] = type(node)(node.node_id, Reachability.SUSPECT)
    assert "suspect" in (flaw(state) or "")
