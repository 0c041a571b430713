"""Any event is about something, nothing or everything: none raises, and none is skipped."""

from contextlib import suppress
from typing import Any

import attrs
import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.chain import answers
from p2pool.drivers.chain.abi import artifact, topic
from p2pool.drivers.chain.answers import Nonsense
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.root.contract import contract_address
from p2pool.drivers.chain.roster.events import (
    EVERYTHING,
    NOTHING,
    Touched,
    roster_touch,
    touched_by,
)
from p2pool.drivers.chain.roster.reader import RosterReader
from p2pool.drivers.chain.rpc import Rpc
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.errors import TransactionFailed
from p2pool.model.ids import Address, NodeId
from tests.chain.hostile import AT, NODE, POOL, REGISTRY, Chain, hash_of, told

OURS = 7
BLOCK = hash_of(100)
MINE, OTHER = (f"0x{number:064x}" for number in (OURS, OURS + 1))
EVENTS = [item["name"] for item in artifact("ComputePool")["abi"] if item["type"] == "event"]


def log(*topics: str, at: bytes = POOL, **fields: Any) -> dict[str, Any]:
    return {"address": "0x" + at.hex(), "topics": list(topics), "blockHash": BLOCK, **fields}


def named(event: str) -> str:
    return "0x" + topic("ComputePool", event).hex()


def about(*logs: dict[str, Any]) -> Touched:
    """What the follower would read again."""
    return touched_by(answers.logs(list(logs)), roster_touch(AT_TWO, OURS))


def word(address: bytes) -> str:
    return "0x" + address.rjust(32, b"\0").hex()


PROVIDER, MEMBER = Address(b"\x0c" * 20), NodeId(b"\x0d" * 20)
AT_TWO = attrs.evolve(AT, network=Address(b"\x03" * 20))
ROW = Touched(members=True, nodes=frozenset({MEMBER}))
ROWS = Touched(members=True, providers=frozenset({PROVIDER}))
LISTED = "0x" + encode(["address[]"], [[MEMBER]]).hex()
ABOUT: dict[str, tuple[str | None, Touched]] = {
    "ComputePoolCreated": (None, Touched(pool=True)),
    "ComputePoolStarted": (None, Touched(pool=True)),
    "ComputePoolEnded": (None, Touched(pool=True)),
    "ComputePoolURIUpdated": (None, Touched(pool=True)),
    "ComputePoolLimitUpdated": (None, NOTHING),
    "WorkSubmitted": (None, NOTHING),
    "ComputePoolJoined": (LISTED, ROW),
    "ComputePoolLeft": (word(MEMBER), ROW),
    "ComputePoolNodeEjected": (word(MEMBER), ROW),
    "ComputePoolNodeBlacklisted": (word(MEMBER), ROW),
    "ComputePoolProviderBlacklisted": ("0x", ROWS),
    "ComputePoolPurgedProvider": ("0x", ROWS),
}


def test_a_record_of_another_pool_is_no_doubt() -> None:
    """PoolRoot serves all pools of a contract, and its events name theirs."""
    records, updated = contract_address(AT_TWO), "0x" + topic("PoolRoot", "PoolRecordUpdated").hex()
    assert about(log(updated, OTHER, at=records)) == NOTHING
    assert about(log(updated, MINE, at=records)) == Touched(pool=True)
    assert about(log(updated, OTHER)) == EVERYTHING
    assert about(log(updated, at=records)) == EVERYTHING
    assert about(log(named("ComputePoolStarted"), OTHER, at=records)) == EVERYTHING


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_of_a_pool_is_about_what_it_names(event: str) -> None:
    """Of another pool it is about nothing here, unless a node left that: it may have moved here
    without a word."""
    data, expected = ABOUT[event]
    assert about(log(named(event), MINE, word(PROVIDER), data=data)) == expected
    left = event == "ComputePoolLeft"
    assert about(log(named(event), OTHER, word(PROVIDER), data=data)) == Touched(members=left)


@pytest.mark.parametrize("contract", ["PrimeNetwork", "ComputeRegistry"])
def test_an_event_of_a_provider_is_about_its_nodes_or_the_one_it_names(contract: str) -> None:
    """Whichever of the two contracts tells it."""
    for item in artifact(contract)["abi"]:
        names = [p["name"] for p in item.get("inputs", ()) if p.get("indexed")]
        if item["type"] != "event" or names[:1] != ["provider"]:
            continue
        kind = "0x" + topic(contract, item["name"]).hex()
        for at in (REGISTRY, AT_TWO.network):
            if names[1:] == ["nodekey"]:
                one = about(log(kind, word(PROVIDER), word(MEMBER), at=at))
                assert one == Touched(nodes=frozenset({MEMBER}))
            else:
                rows = about(log(kind, word(PROVIDER), at=at))
                assert rows == Touched(providers=frozenset({PROVIDER}))
            assert about(log(kind, at=at)).whole
            assert about(log(kind, hash_of(3), at=at)).whole


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
        log(named("ComputePoolStarted"), OTHER, at=b"\x0e" * 20),
        log(named("ComputePoolStarted"), OTHER, removed=True),
        log(named("ComputePoolStarted"), OTHER, removed="no"),
        log(named("ComputePoolLeft"), MINE, word(PROVIDER)),
        log(named("ComputePoolLeft"), MINE, word(PROVIDER), data=LISTED),
        log(named("ComputePoolLeft"), MINE, word(PROVIDER), data=hash_of(5)),
        log(named("ComputePoolLeft"), MINE, data=word(MEMBER)),
        log(named("ComputePoolJoined"), MINE, word(PROVIDER), data=word(MEMBER)),
        log(named("ComputePoolJoined"), MINE, word(PROVIDER), data="0x"),
    ],
)
def test_what_says_not_plainly_what_it_is_about_is_about_everything(
    doubtful: dict[str, Any],
) -> None:
    """An event that we do not know may name its pool elsewhere; one that a reorganisation took back
    says that the endpoint is elsewhere."""
    harmless = log(named("ComputePoolStarted"), OTHER)
    assert not about(harmless, harmless)
    assert about(harmless, doubtful, harmless) == EVERYTHING


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
        touch = roster_touch(AT, OURS)
        mixed = [*found, *found]
        rng.shuffle(mixed)
        assert touched_by(found, touch) == touched_by(mixed, touch)


async def test_events_of_another_block_than_was_asked_for_are_none() -> None:
    """By the hash of one block: the endpoint is elsewhere, and nobody can tell."""
    rpc = Rpc.to(1, ["http://h.example"])
    lies = {"eth_getLogs": told([log(named("ComputePoolStarted"), OTHER)])}
    rpc.endpoints[0].provider = Chain(lies)  # type: ignore[assignment]
    reader = RosterReader(PoolContracts(rpc, AT), OURS)
    old, new = await reader.block(99), await reader.block(100)
    assert len(await reader.events(old, new) or ()) == 1
    for other in (hash_of(3), None):
        lies["eth_getLogs"] = told([log(named("ComputePoolStarted"), OTHER, blockHash=other)])
        assert await reader.events(old, new) is None


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
