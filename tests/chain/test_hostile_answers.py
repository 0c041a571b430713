"""Whatever an endpoint answers, nothing but the errors that a driver names leaves it."""

import gzip
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import cycle
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from p2pool.codec.rows import encode_record
from p2pool.core.inputs import ChainObserved, ChainUnreachable
from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.chain import answers
from p2pool.drivers.chain.abi import error_of, function
from p2pool.drivers.chain.answers import Nonsense
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.join_steps import Joining
from p2pool.drivers.chain.roster.follower import RosterFollower
from p2pool.drivers.chain.roster.reader import RosterReader
from p2pool.drivers.chain.rpc import Reverted, Rpc
from p2pool.drivers.chain.transactions.refusals import refusal
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model import limits
from p2pool.model.chain.networks import DEVELOPMENT_CHAIN_ID
from p2pool.model.errors import ChainUnavailable, P2poolError
from tests.chain.endpoints import endpoint
from tests.chain.hostile import (
    AT,
    HOSTILE,
    NODE,
    OF_METHOD,
    OURS,
    POOL,
    POOLS,
    READS,
    TEXT_ERROR,
    WRITES,
    Chain,
    hash_of,
    numbered,
    told,
)

POLLS = 2
"""So often each endpoint sees the follower begin again: after nonsense it goes on."""


def rpc_of(*chains: Chain) -> Rpc:
    """Endpoints that are these chains, in this order."""
    made = Rpc.to(1, [f"http://h{i}.example" for i in range(len(chains))])
    for one, chain in zip(made.endpoints, chains, strict=True):
        one.provider = chain  # type: ignore[assignment]
    return made


def contracts_of(*chains: Chain) -> PoolContracts:
    return PoolContracts(rpc_of(*chains), AT)


@attrs.define
class Counted(RosterFollower):
    """A follower that stands still after some polls: nothing is told while nothing changes.
    `bug`: what each poll does instead."""

    left: int = POLLS
    done: trio.Event = attrs.field(factory=trio.Event)
    bug: Callable[[], Awaitable[ChainObserved]] | None = None

    async def observe(self) -> ChainObserved:
        """As it is, except that no endpoint is left alone for having failed."""
        self.left -= 1
        if self.left < 0:
            self.done.set()
            await trio.sleep_forever()
        for one in self.reader.chain.rpc.endpoints:
            one.quiet_until_s = one.unread_until_s = 0.0
        if self.bug is not None:
            return await self.bug()
        return await super().observe()


def follower_of(*chains: Chain) -> Counted:
    return Counted(RosterReader(contracts_of(*chains), 7), confirmations=1, poll_ms=0)


async def polls(follower: Counted) -> list[Any]:
    """What the generator tells in some polls."""
    seen = list[Any]()

    async def consume() -> None:
        async for observed in follower.observations():
            seen.append(observed)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            await follower.done.wait()
            nursery.cancel_scope.cancel()
    return seen


def check(seen: list[Any]) -> None:
    """Something was told, the core's codec takes it, and a person can read it."""
    assert seen
    for observed in seen:
        if isinstance(observed, ChainObserved):
            for roster in (observed.latest, observed.final):
                encode_record(roster)
                assert max(roster.block_number, roster.block_time_ms) < 2**53
        else:
            assert isinstance(observed, ChainUnreachable)
            assert len(observed.reason) < 2000
            assert "unexpectedly" not in observed.reason
            assert observed.reason.isprintable()


async def test_the_honest_chain_of_these_tests_is_read() -> None:
    """Else nothing below would get far enough to fail."""
    seen = await polls(follower_of(Chain(), Chain()))
    check(seen)
    assert all(isinstance(one, ChainObserved) and one.agreed for one in seen)
    assert seen[-1].latest.members[0].eligible
    assert seen[-1].latest.block_number > seen[0].latest.block_number


@pytest.mark.parametrize("method", READS)
async def test_one_endpoint_that_lies_ends_nothing(method: str) -> None:
    """Alone or asked second (or first): it is an answer, a doubt or an outage."""
    own = OF_METHOD.get(method, {})
    for name, lie in {**HOSTILE, **own}.items():
        check(await polls(follower_of(Chain({method: lie}))))
        if name in own:
            check(await polls(follower_of(Chain({method: lie}), Chain())))
        second = await polls(follower_of(Chain(), Chain({method: lie})))
        check(second)
        assert any(isinstance(one, ChainObserved) for one in second) or method == "eth_call"


@pytest.mark.parametrize("what", POOLS)
async def test_a_pool_beyond_the_codecs_bounds_ends_nothing(what: str) -> None:
    """A creator can write most of these into a contract that is honest."""

    def lie(params: list[Any], honest: Any) -> Any:
        asks = params[0]["data"].startswith("0x" + get.hex())
        return POOLS[what](params, honest) if asks else {"result": honest}

    get = function("ComputePool", "getComputePool").call(7)[:4]
    seen = await polls(follower_of(Chain({"eth_call": lie})))
    check(seen)
    readable = what in ("a long name", "a long address", "a long URI")
    assert isinstance(seen[0], ChainObserved) == readable


@pytest.mark.parametrize("listed", [[NODE, NODE], ["0x" + "ff" * 32], [NODE] * 3])
def test_a_list_of_members_that_is_none_is_nonsense(listed: list[str]) -> None:
    """No member twice, and nothing that is no address."""
    kind = "address[]" if len(listed[0]) == 42 else "bytes32[]"
    values = listed if kind == "address[]" else [bytes.fromhex(one[2:]) for one in listed]
    with pytest.raises(Nonsense):
        answers.members("0x" + encode([kind], [values]).hex())


KEYS = (
    *("number", "hash", "parentHash", "timestamp", "topics", "address", "data", "message"),
    *("status", "blockNumber", "gasUsed", "logs", "result"),
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=40)
    | st.sampled_from(["0x", hex(2**70), hash_of(1), NODE, TEXT_ERROR + "00"])
    | st.binary(max_size=100).map(lambda b: "0x" + b.hex()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
ANSWERS = JSON | st.fixed_dictionaries({"result": JSON}) | st.fixed_dictionaries({"error": JSON})


@settings(max_examples=25)
@given(st.sampled_from(READS), st.lists(ANSWERS, min_size=1, max_size=6), st.booleans())
def test_any_json_ends_nothing(method: str, said: list[Any], first: bool) -> None:
    """Of any method, asked of the first endpoint or of the second."""
    turns: Iterator[Any] = cycle(said)
    liar = Chain({method: lambda params, honest: next(turns)})
    chains = (liar, Chain()) if first else (Chain(), liar)
    check(trio.run(polls, follower_of(*chains)))


@given(
    JSON,
    st.sampled_from(
        (
            *(answers.quantity, answers.number, answers.price, answers.data, answers.address),
            *(answers.block, answers.logs, answers.members, answers.receipt, answers.fields),
        )
    ),
)
def test_what_is_read_in_is_right_or_nonsense(value: Any, read: Callable[[Any], Any]) -> None:
    """No other error."""
    with suppress(Nonsense):
        found = read(value)
        assert not isinstance(found, answers.Block) or found.number < 2**53


@given(st.sampled_from([TEXT_ERROR, OURS, "0x12345678"]), st.binary(max_size=200))
def test_the_data_of_an_error_is_ours_or_unknown(selector: str, tail: bytes) -> None:
    """And it makes a sentence, whatever stands in it."""
    data = bytes.fromhex(selector[2:]) + tail
    error_of(data)
    refusal("This", Reverted("x", data))


@pytest.mark.parametrize("method", WRITES)
async def test_a_writer_raises_only_what_a_person_can_read(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent sends by it, too: with the provider's key it joins by itself."""
    monkeypatch.setattr(limits, "TRANSACTION_DEADLINE_MS", 1)
    monkeypatch.setattr(limits, "RECEIPT_POLL_MS", 1)
    good = {"status": "0x1", "blockNumber": "0x1", "gasUsed": "0x1", "contractAddress": None}
    known = {"eth_getTransactionByHash": told({}), "eth_getTransactionReceipt": told(good)}
    receipts = {
        f"{field} {i}": told({**good, field: value})
        for field in good
        for i, value in numbered([None, 5, [], "0x", hex(2**70), "0x" + "f" * 5001])
    }
    join = function("ComputePool", "startComputePool")
    for lie in {**HOSTILE, **receipts}.values():
        writer = KeyWriter(rpc_of(Chain({**known, method: lie})), new_account())
        with suppress(P2poolError):
            assert (await writer.send(POOL, join, 7)).block_number < 2**53


async def test_joining_raises_only_what_its_driver_waits_out() -> None:
    """See `join_driver`: any other error would end the agent."""

    async def nothing() -> None:
        return None

    for lie in (*HOSTILE.values(), *POOLS.values()):
        for method in ("eth_call", "eth_chainId", "eth_getCode"):
            contracts = contracts_of(Chain({method: lie}))
            for writer in (None, KeyWriter(contracts.rpc, new_account())):
                joining = Joining(contracts, 7, new_account(), 1, nothing, writer)
                with suppress(P2poolError, Reverted):
                    await joining.next_step()


async def test_nonsense_is_asked_of_the_next_endpoint_at_once() -> None:
    """The first has no right to be the only one that is heard."""
    seen = await polls(follower_of(Chain({"eth_getBlockByNumber": told("x")}), Chain()))
    assert all(isinstance(one, ChainObserved) for one in seen)


@pytest.mark.parametrize("packed", [False, True])
async def test_a_long_answer_is_not_read_to_its_end(
    packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one that is short until it is unpacked, nor one with a million items."""
    monkeypatch.setattr(limits, "CHAIN_ANSWER_MAX_BYTES", 100_000)
    monkeypatch.setattr(limits, "CHAIN_ANSWER_ITEMS_MAX", 10)
    for result, why in (("x" * 200_000, "100000 bytes"), ([0] * 20, "10 items"), ("0x1", None)):
        body = json.dumps({"result": result}).encode()
        async with endpoint(gzip.compress(body) if packed else body, packed) as url:
            if why is None:
                assert await Rpc.to(1, [url]).request("eth_chainId") == "0x1"
                continue
            with pytest.raises(ChainUnavailable, match=why):
                await Rpc.to(1, [url]).request("eth_chainId")


@pytest.mark.parametrize("opens", ["[", '{"a":'])
async def test_an_answer_that_nests_deeply_is_not_parsed(opens: str) -> None:
    """A library of web3's lets Python recurse a hundred thousand times: such an answer of 100 KiB
    used up the stack, and the process was gone."""
    body = b'{"jsonrpc":"2.0","id":1,"result":' + opens.encode() * 90_000
    async with endpoint(body, False) as url:
        with pytest.raises(ChainUnavailable, match="nested too deeply"):
            await Rpc.to(1, [url]).request("eth_chainId")


async def test_a_bug_of_our_own_is_told_once_and_ends_nothing() -> None:
    """The last net: alone, or in a group; another endpoint is asked first."""

    async def alone() -> ChainObserved:
        raise ZeroDivisionError("x")

    async def grouped() -> ChainObserved:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alone)
        raise AssertionError

    for bug in (alone, grouped):
        follower = follower_of(Chain(), Chain())
        follower.bug = bug
        with capture_logs() as logged:
            seen = await polls(follower)
        assert [type(one) for one in seen] == [ChainUnreachable]
        said = [(one["error"], "test_hostile_answers.py" in str(one["at"])) for one in logged]
        assert said == [("ZeroDivisionError", True)]
        assert follower.reader.chain.rpc.first == POLLS % 2


async def test_a_cancelled_follower_ends_with_its_errors_left_behind() -> None:
    """A group of a cancellation and an error is a cancellation: its scope catches all of it."""
    follower = follower_of(Chain())

    async def fails() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("x")

    async def observe() -> ChainObserved:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails)
            nursery.start_soon(trio.sleep_forever)
        raise AssertionError

    async def consume() -> None:
        async for _ in follower.observations():
            pass

    follower.bug = observe
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    # An error that was left in the group would have come out of the nursery.
    assert follower.left == POLLS - 1


@pytest.mark.parametrize("chain_id", [DEVELOPMENT_CHAIN_ID, 1])
def test_an_endpoint_on_a_chain_of_a_thousand_digits_is_only_wrong(chain_id: int) -> None:
    """Its number is not written out."""
    rpc = Rpc.to(chain_id, ["http://h.example"])
    rpc.endpoints[0].provider = Chain({"eth_chainId": told("0x" + "f" * 9000)})  # type: ignore[assignment]
    with pytest.raises(ChainUnavailable, match="not a number"):
        trio.run(rpc.request, "eth_blockNumber")
