"""Any log of a block is an answer or a doubt (a full read): none raises, and none is skipped."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.chain import answers
from p2pool.drivers.chain.abi import artifact, topic
from p2pool.drivers.chain.answers import Nonsense
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.roster import RosterReader, roster_filter
from p2pool.drivers.chain.rpc import Rpc
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.errors import TransactionFailed
from tests.chain.hostile import AT, NODE, POOL, REGISTRY, Chain, hash_of, told

OURS = 7
BLOCK = hash_of(100)
MINE, OTHER = (f"0x{number:064x}" for number in (OURS, OURS + 1))
EVENTS = [item["name"] for item in artifact("ComputePool")["abi"] if item["type"] == "event"]


def log(*topics: str, at: bytes = POOL, **fields: Any) -> dict[str, Any]:
    return {"address": "0x" + at.hex(), "topics": list(topics), "blockHash": BLOCK, **fields}


def named(event: str) -> str:
    return "0x" + topic("ComputePool", event).hex()


def doubts(*logs: dict[str, Any]) -> bool:
    """Whether the follower would read the whole roster again."""
    touches = roster_filter(AT.pool, OURS, BLOCK)
    return any(touches(one) for one in answers.logs(list(logs)))


@pytest.mark.parametrize("event", EVENTS)
def test_a_known_event_of_another_pool_is_no_doubt_unless_a_node_left(event: str) -> None:
    """A node that leaves may have moved here without a word."""
    assert doubts(log(named(event), OTHER)) is (event == "ComputePoolLeft")
    assert doubts(log(named(event), MINE))


@pytest.mark.parametrize(
    "doubtful",
    [
        log(),
        log(named("ComputePoolStarted")),
        log(hash_of(1)),
        log(hash_of(1), OTHER),
        log(hash_of(1), OTHER, MINE, MINE),
        log(hash_of(1), *[OTHER] * 9),
        log(named("ComputePoolStarted"), OTHER, at=REGISTRY),
        log(named("ComputePoolStarted"), OTHER, removed=True),
        log(named("ComputePoolStarted"), OTHER, removed="no"),
        log(named("ComputePoolStarted"), OTHER, blockHash=hash_of(3)),
        log(named("ComputePoolStarted"), OTHER, blockHash=None),
    ],
)
def test_what_says_not_plainly_that_it_is_another_pools_is_a_doubt(
    doubtful: dict[str, Any],
) -> None:
    """An event that we do not know may name its pool elsewhere; one of another block, or one that a
    reorganisation took back, says that the endpoint is elsewhere."""
    harmless = log(named("ComputePoolStarted"), OTHER)
    assert not doubts(harmless, harmless)
    assert doubts(harmless, doubtful, harmless)


WORDS = st.sampled_from([MINE, OTHER, *map(named, EVENTS)]) | st.binary(
    min_size=32, max_size=32
).map(lambda b: "0x" + b.hex())
ANY = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(WORDS, max_size=2)
LOGS = st.fixed_dictionaries(
    {},
    optional={
        "address": st.sampled_from(["0x" + POOL.hex(), "0x" + REGISTRY.hex(), NODE.upper()]) | ANY,
        "topics": st.lists(WORDS, max_size=6) | ANY,
        "data": ANY,
        "removed": ANY,
        "blockHash": st.just(BLOCK) | ANY,
        "logIndex": ANY,
    },
)


@given(st.lists(LOGS | ANY, max_size=5), st.randoms())
def test_no_log_raises_and_order_and_repetition_change_nothing(logs: list[Any], rng: Any) -> None:
    """Whatever stands in it, and whatever is missing."""
    with suppress(Nonsense):
        found = answers.logs(logs)
        touches = roster_filter(AT.pool, OURS, BLOCK)
        mixed = [*found, *found]
        rng.shuffle(mixed)
        assert any(map(touches, found)) is any(map(touches, mixed))


async def test_a_roster_is_read_again_for_an_event_that_nobody_knows() -> None:
    """The follower itself, against an endpoint that tells it."""
    rpc = Rpc.to(1, ["http://h.example"])
    lies = {"eth_getLogs": told([log(hash_of(1), OTHER)])}
    rpc.endpoints[0].provider = Chain(lies)  # type: ignore[assignment]
    reader = RosterReader(PoolContracts(rpc, AT), OURS)
    assert await reader.touched(await reader.block(100))
    lies["eth_getLogs"] = told([log(named("ComputePoolStarted"), OTHER)])
    assert not await reader.touched(await reader.block(100))


async def test_a_created_pool_is_named_by_its_own_event_alone() -> None:
    """Another event of the pool's contract, or a number beyond what an id has, is not its name."""
    created = named("ComputePoolCreated")
    good = {"status": "0x1", "blockNumber": "0x1", "gasUsed": "0x1", "contractAddress": None}
    for logs, found in (
        ([log(named("ComputePoolStarted"), OTHER), log(created, MINE, OTHER, OTHER)], OURS),
        ([log(named("ComputePoolStarted"), MINE)], None),
        ([log(created)], None),
        ([log(created, MINE, at=REGISTRY)], None),
        ([5], None),
    ):
        rpc = Rpc.to(1, ["http://h.example"])
        receipt = told({**good, "logs": logs})
        lies = {"eth_getTransactionReceipt": receipt, "eth_getTransactionByHash": told({})}
        rpc.endpoints[0].provider = Chain(lies)  # type: ignore[assignment]
        create = PoolContracts(rpc, AT).create_pool(KeyWriter(rpc, new_account()), 0, POOL, "x")
        if found is not None:
            assert await create == found
            continue
        with pytest.raises(TransactionFailed, match="does not name it"):
            await create
