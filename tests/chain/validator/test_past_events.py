"""A contract's past: walked back span by span, as far as endpoints go, and never further."""

from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from eth_abi.abi import encode

from p2pool.drivers.chain.abi import topic
from p2pool.drivers.chain.answers import Log
from p2pool.drivers.chain.endpoints.failures import EndpointRefused
from p2pool.drivers.chain.validator.past_events import Past, past_events
from p2pool.drivers.chain.validator.reward_claims import CLAIMED, claims_of
from p2pool.drivers.chain.validator.slashes import slash_of
from p2pool.drivers.chain.validator.work import JUDGED, PieceState, pieces_of
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable
from p2pool.model.ids import Address

AT = Address(b"\xaa" * 20)
WANTED = b"\x01" * 32


def log(number: int | None, address: Address = AT, first: bytes = WANTED) -> Log:
    """An event of a block."""
    return Log("0x" + address.hex(), ("0x" + first.hex(),), data=b"", number=number)


@attrs.define
class FakeRpc:
    """An endpoint that has events, and answers spans up to a bound of its own."""

    events: list[Log]
    most: int = 10**9
    lies: list[Log] = attrs.field(factory=list)
    asked: list[tuple[int, int]] = attrs.field(factory=list)

    async def request(self, method: str, *params: Any, read: Any = None) -> list[Log]:
        """The events of a span."""
        assert method == "eth_getLogs"
        first, last = (int(params[0][one], 16) for one in ("fromBlock", "toBlock"))
        self.asked.append((first, last))
        if last - first + 1 > self.most:
            raise EndpointRefused("query returned more than 10000 results")
        return [one for one in self.events if first <= (one.number or 0) <= last] + self.lies


async def past(rpc: Any, head: int = 10_000) -> Past:
    """All events back from a head."""
    return await past_events(rpc, AT, [WANTED], head)


async def test_the_whole_past_is_found_in_order() -> None:
    """By spans without a gap or an overlap, whatever an endpoint's bound is."""
    events = [log(number) for number in (0, 1, 4_095, 4_096, 9_999, 10_000)]
    for most in (10**9, 3_000, 777):
        rpc = FakeRpc(events, most)
        found = await past(rpc)
        assert found == Past(0, tuple(events))
        spans = sorted(one for one in rpc.asked if one[1] - one[0] < most)
        assert [one[0] for one in spans[1:]] == [one[1] + 1 for one in spans[:-1]]


async def test_the_way_back_ends_and_says_where() -> None:
    """What lies before it is unknown."""
    rpc = FakeRpc([log(0)], most=100)
    found = await past(rpc, head=1_000_000)
    assert found.events == ()
    assert found.first_block > 1_000_000 - 100 * limits.PAST_SPANS_MAX
    assert len(rpc.asked) == limits.PAST_SPANS_MAX


async def test_an_endpoint_that_refuses_a_single_block_is_an_outage() -> None:
    """And so is one that answers with events of other blocks."""
    with pytest.raises(ChainUnavailable):
        await past(FakeRpc([], most=0), head=0)
    for lie in (log(20_000), log(None)):
        with pytest.raises(ChainUnavailable):
            await past(FakeRpc([], lies=[lie]))


async def test_what_was_not_asked_for_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another contract, or another kind; and too many are not read."""
    others = [log(5, Address(b"\xbb" * 20)), log(6, first=b"\x02" * 32)]
    assert (await past(FakeRpc([*others, log(7)]))).events == (log(7),)
    monkeypatch.setattr(limits, "PAST_EVENTS_MAX", 1)
    with pytest.raises(ChainUnavailable):
        await past(FakeRpc([log(7), log(8)]))


def test_a_slash_is_read_in_both_tongues() -> None:
    """With the staker as a topic, and without; what is none is nobody's slash."""
    first = "0x" + topic("StakeManager", "Slashed").hex()
    who = Address(b"\x0c" * 20)
    padded = "0x" + who.hex().rjust(64, "0")
    indexed = Log("0x", (first, padded), data=encode(["uint256", "bytes"], [7, b"why"]), number=3)
    plain = Log(
        "0x",
        (first,),
        data=encode(["address", "uint256", "bytes"], ["0x" + who.hex(), 7, b"why"]),
        number=3,
    )
    for event in (indexed, plain):
        found = slash_of(event)
        assert found is not None
        assert (found.provider, found.amount_wei, found.reason, found.block) == (who, 7, b"why", 3)
    for wrong in (
        attrs.evolve(plain, data=b"\x01"),
        attrs.evolve(plain, data=None),
        attrs.evolve(indexed, topics=(first, "0xzz")),
        attrs.evolve(plain, number=None),
    ):
        assert slash_of(wrong) is None


def test_pieces_of_work_are_read_by_their_last_event() -> None:
    """Of one pool; what is taken back keeps the units that it was submitted with."""
    kinds = {state: first for first, state in JUDGED.items()}
    types = ["uint256", "address", "address", "bytes32", "uint256"]

    def event(state: PieceState, pool_id: int, key: bytes, units: int, block: int) -> Log:
        data = encode(types, [pool_id, "0x" + "01" * 20, "0x" + "02" * 20, key, units])
        return Log("0x", (kinds[state],), data=data, number=block)

    first, second = b"a" * 32, b"b" * 32
    events = [
        event(PieceState.SUBMITTED, 7, first, 10, 1),
        event(PieceState.SUBMITTED, 8, second, 10, 2),
        event(PieceState.SUBMITTED, 7, second, 5, 3),
        event(PieceState.REMOVED, 7, first, 4, 4),
        Log("0x", (kinds[PieceState.SUBMITTED],), data=b"\x00", number=5),
        Log("0x", (kinds[PieceState.SUBMITTED], "0x00"), data=b"\x00", number=5),
    ]
    found = pieces_of(events, 7)
    assert {key: (one.units, one.state, one.block) for key, one in found.items()} == {
        first: (10, PieceState.REMOVED, 4),
        second: (5, PieceState.SUBMITTED, 3),
    }


async def test_what_was_claimed_is_counted_by_node() -> None:
    """Of that pool; an event that is none of the form counts for nobody."""
    node, other = b"n" * 20, b"o" * 20

    def claim(pool: int, of: bytes, data: bytes) -> Log:
        topics = (CLAIMED, pool.to_bytes(32, "big"), bytes(32), of.rjust(32, b"\0"))
        return Log("0x" + AT.hex(), tuple("0x" + one.hex() for one in topics), data=data, number=5)

    good = claim(7, node, (21).to_bytes(32, "big"))
    events = [good, good, claim(7, other, (3).to_bytes(32, "big")), claim(8, node, bytes(32))]
    events += [claim(7, node, b""), attrs.evolve(good, topics=good.topics[:2]), log(4)]
    events += [attrs.evolve(good, topics=(*good.topics[:3], "0xnode"))]
    reader: Any = SimpleNamespace(chain=SimpleNamespace(rpc=FakeRpc(events)), block=9)
    found = (await claims_of(reader, AT, 7)).need("claims")
    assert (found.first_block, dict(found.by_node)) == (0, {node: 42, other: 3})
