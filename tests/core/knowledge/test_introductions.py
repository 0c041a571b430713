"""Made-up nodes, however many, keep a newcomer from nobody."""

from random import Random

import pytest

from p2pool.core.knowledge.introductions import Introduced, Introductions
from p2pool.model import limits
from p2pool.model.ids import Address, NodeId
from p2pool.model.ports.store import Delete


def node(number: int) -> NodeId:
    """The id of a node."""
    return NodeId(number.to_bytes(20, "big"))


def provider(number: int) -> Address:
    """The address of a provider."""
    return Address(number.to_bytes(20, "big"))


@pytest.fixture
def known() -> Introductions:
    """Nobody yet."""
    return Introductions(Random(7))


HONEST = [node(n) for n in range(3)]
GROUP, HOST = b"g", b"h"


def flood(known: Introductions, count: int, group: bytes = b"a", hosts: int = 1) -> list[NodeId]:
    """So many made-up nodes from a group of addresses."""
    made_up = [node(1_000 + len(known.rows) + n) for n in range(count)]
    for number, node_id in enumerate(made_up):
        known.met(node_id, group, b"%s%d" % (group, number % hosts))
        gone = known.surplus(node_id)
        if gone is not None:
            known.forget(gone)
    return made_up


def test_who_was_there_first_is_named_though_all_share_a_host(known: Introductions) -> None:
    """As on one machine, or behind one NAT."""
    for node_id in HONEST:
        known.met(node_id, GROUP, HOST)
    flood(known, 80, GROUP)
    for node_id in [node(5_000 + n) for n in range(80)]:
        known.met(node_id, GROUP, HOST)
    for _ in range(10):
        assert set(HONEST) <= set(known.named())


@pytest.mark.parametrize("hosts", [1, 80])
def test_a_group_that_fills_the_table_gets_one_turn(known: Introductions, hosts: int) -> None:
    """Those that come later, from elsewhere, are named and kept too."""
    known.most = 100
    flood(known, 500, hosts=hosts)
    for number, node_id in enumerate(HONEST):
        known.met(node_id, b"g%d" % number, HOST)
        gone = known.surplus(node_id)
        assert gone is not None
        known.forget(gone)
    flood(known, 500, hosts=hosts)
    assert len(known.rows) == 100
    assert set(known.rows) >= set(HONEST)
    for _ in range(10):
        assert set(HONEST) <= set(known.named(8))


def test_within_a_group_each_host_has_its_turn(known: Introductions) -> None:
    """Somebody with many nodes at one address of a large provider crowds out no neighbour."""
    flood(known, 80, GROUP)
    for number, node_id in enumerate(HONEST):
        known.met(node_id, GROUP, b"honest%d" % number)
    for _ in range(10):
        assert set(HONEST) <= set(known.named(8))


def test_who_answered_comes_before_who_did_not(known: Introductions) -> None:
    """Nobody gets anywhere at an address where nothing listens."""
    flood(known, 80, GROUP)
    for node_id in HONEST:
        known.met(node_id, GROUP, GROUP + b"0")
        known.answered(node_id)
    assert known.named(3) == tuple(HONEST)


def test_members_come_first_and_their_providers_have_turns(known: Introductions) -> None:
    """Once the chain says who they are; and no longer when it says that they left."""
    made_up = flood(known, 5_000, hosts=5_000)
    mine = [node(100 + n) for n in range(90)]
    for number, node_id in enumerate((*mine, *HONEST)):
        known.met(node_id, b"m%d" % number, HOST)
    owned = dict.fromkeys(mine, provider(1)) | {n: provider(2 + i) for i, n in enumerate(HONEST)}
    known.follow(owned)
    for _ in range(10):
        named = known.named(8)
        assert set(HONEST) <= set(named)
        assert not set(named) & set(made_up)
    known.follow({})
    assert set(known.named(200)) & set(made_up)


def test_one_provider_fills_no_table(monkeypatch: pytest.MonkeyPatch, known: Introductions) -> None:
    """Its youngest make room for each other; members of others are kept."""
    monkeypatch.setattr(limits, "INTRODUCTIONS_PER_PROVIDER_MAX", 10)
    known.most = 30
    mine = [node(100 + n) for n in range(60)]
    known.follow(dict.fromkeys(mine, provider(1)) | dict.fromkeys(HONEST, provider(2)))
    for node_id in (*mine[:20], *HONEST, *mine[20:]):
        known.met(node_id, GROUP, HOST)
        gone = known.surplus(node_id)
        if gone is not None:
            known.forget(gone)
    assert set(HONEST) <= set(known.rows)
    assert len(known.rows) == 13


def test_it_comes_back_from_disk_and_goes_from_there(known: Introductions) -> None:
    """In the order in which they came, and with what is known of each."""
    for node_id in HONEST:
        known.met(node_id, GROUP, HOST)
    known.answered(HONEST[2])
    again = Introductions(Random(1))
    again.restore(iter(reversed([*known.rows.values()])))
    assert again.named() == (HONEST[2], HONEST[0], HONEST[1])
    assert again.met(node(9), GROUP, HOST) != []
    assert again.rows[node(9)].turn > max(row.turn for row in known.rows.values())
    (effect,) = again.forget(HONEST[0])
    assert [type(one) for one in effect.operations] == [Delete]  # type: ignore[union-attr]
    assert again.forget(HONEST[0]) == []


def test_who_moves_begins_again_at_its_new_place(known: Introductions) -> None:
    """Its age, and that it answered, were the old one's."""
    known.met(HONEST[0], GROUP, HOST)
    known.answered(HONEST[0])
    known.met(HONEST[1], b"other", HOST)
    known.met(HONEST[0], b"other", HOST)
    assert known.named() == (HONEST[1], HONEST[0])
    assert known.rows[HONEST[0]] == Introduced(HONEST[0], b"other", HOST, 3)
    assert known.met(HONEST[0], b"other", HOST) == []


def test_a_member_whose_provider_changes_moves_to_the_other_turn(known: Introductions) -> None:
    """It left and came back under another one between two readings of the chain."""
    for node_id in HONEST:
        known.met(node_id, GROUP, HOST)
    known.follow(dict.fromkeys(HONEST, provider(1)))
    known.follow({HONEST[0]: provider(2), HONEST[1]: provider(1)})
    assert set(known.named(2)) == {HONEST[0], HONEST[1]}
    for node_id in HONEST:
        assert known.forget(node_id) != []
    assert known.named() == ()
