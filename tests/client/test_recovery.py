"""What a recovery proposes, and what it refuses: from what agents and the chain say alone."""

from typing import Any

import attrs
import pytest

from p2pool.client.recovery import propose, propose_empty
from p2pool.codec.digests import log_id
from p2pool.codec.json.held_logs import HeldLog, read_held_log
from p2pool.codec.text.peer_id import peer_id
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import Conflict, NotFound
from p2pool.model.ids import Address, NodeId, PeerKey, PoolRef, StoreId

POOL = PoolRef(31337, Address(b"\x11" * 20), 1)


def name(number: int) -> str:
    return "0x" + f"{number:02x}" * 20


ROOT = RootRecord(1, NodeId(b"\x01" * 20), PeerKey(b"\x01" * 32), StoreId(b"\x01" * 16))
LOG = log_id(POOL, ROOT).hex()
VOTERS = (name(1), name(2), name(3))


def holder(number: int, last_index: int = 10, last_term: int = 2, **also: Any) -> HeldLog:
    """An agent of a committee of three (1 to 3) with a log of epoch 1."""
    made = HeldLog(
        name(number),
        peer_id(PeerKey(bytes([number]) * 32)),
        f"{number:02x}" * 16,
        LOG,
        1,
        1,
        "",
        0,
        8,
        last_index,
        last_term,
        "01" + "aa" * 32,
        VOTERS,
        number <= 3,
    )
    return attrs.evolve(made, **also)


def without(number: int) -> HeldLog:
    """An agent that holds no log."""
    return holder(number, log_id=None, state_digest=None, epoch=0, voters=(), voter=False)


def test_the_longest_log_founds_by_its_last_term_then_its_length() -> None:
    """A shorter log of a later term holds all that was committed before it."""
    made = propose(POOL, ROOT, [holder(1, 30, 2), holder(4, 20, 3), holder(5, 19, 3)])
    assert made.founder.node_id == name(4)
    assert (made.root.epoch, made.root.founder) == (2, b"\x04" * 20)
    assert (made.root.peer_key, made.root.store_id) == (b"\x04" * 32, b"\x04" * 16)
    previous = made.root.previous
    assert previous is not None
    assert (previous.log_id.hex(), previous.base_index) == (LOG, 20)
    assert previous.state_digest == b"\x01" + b"\xaa" * 32


def test_of_equal_logs_a_voter_founds() -> None:
    """It was of the committee already."""
    assert propose(POOL, ROOT, [holder(2), holder(9)]).founder.node_id == name(2)


def test_it_says_what_is_kept_and_what_may_be_lost() -> None:
    """The end that nobody knew to be committed, and the voters that nobody reaches."""
    made = propose(POOL, ROOT, [holder(2, 12), holder(9)])
    assert "entries 9 to 12 are kept" in " ".join(made.reasons)
    assert f"{name(1)}, {name(3)}" in " ".join(made.losses)
    assert name(2) not in " ".join(made.losses)


def test_a_quorum_that_lives_mends_itself() -> None:
    """Refused, unless it is forced."""
    answer = [holder(1), holder(2)]
    with pytest.raises(Conflict, match="2 of 3 voters answer"):
        propose(POOL, ROOT, answer)
    assert propose(POOL, ROOT, answer, force=True).root.epoch == 2


def test_while_the_committee_changes_both_committees_need_a_majority() -> None:
    """Three of five that vote answer, but only one of the three before the change: no leader."""
    between: dict[str, Any] = {
        "voters": (name(3), name(4), name(5)),
        "outgoing": VOTERS,
        "voter": True,
    }
    answer = [holder(n, **between) for n in (3, 4, 5)]
    made = propose(POOL, ROOT, answer)
    assert made.root.epoch == 2
    assert f"{name(1)}, {name(2)}" in " ".join(made.losses)
    with pytest.raises(Conflict, match="4 of 5 voters answer"):
        propose(POOL, ROOT, [*answer, holder(1, **between)])


def test_a_voter_with_another_disk_does_not_make_a_quorum() -> None:
    """It holds a copy of the log perhaps, and votes no more."""
    assert propose(POOL, ROOT, [holder(1), holder(2, voter=False)]).root.epoch == 2


def test_an_epoch_that_is_taken_is_waited_for() -> None:
    """A second recovery before the first was founded is refused, unless its founder refused it."""
    pending = attrs.evolve(ROOT, epoch=2, founder=NodeId(b"\x02" * 20))
    with pytest.raises(Conflict, match="Epoch 2 is already on the chain"):
        propose(POOL, pending, [holder(1), holder(2, followed_epoch=2)])
    refused = holder(2, followed_epoch=2, refusal="another state")
    assert propose(POOL, pending, [holder(1), refused]).root.epoch == 3
    assert propose(POOL, pending, [holder(1)], force=True).root.epoch == 3


def test_a_founder_that_is_behind_is_named_with_force_only() -> None:
    """The loss is told either way."""
    answer = [holder(1, 12), holder(9, 10)]
    with pytest.raises(Conflict, match="would be lost"):
        propose(POOL, ROOT, answer, founder=name(9))
    made = propose(POOL, ROOT, answer, founder=name(9)[2:].upper(), force=True)
    assert made.founder.node_id == name(9)
    assert f"what the log of {name(1)} holds beyond index 10" in made.losses
    with pytest.raises(NotFound, match="did not answer"):
        propose(POOL, ROOT, answer, founder=name(7))
    with pytest.raises(Conflict, match="holds no log"):
        propose(POOL, ROOT, [*answer, without(7)], founder=name(7))


def test_only_the_newest_epoch_counts() -> None:
    """However long the log of an old one is; of two logs of one epoch the one that stands."""
    second = attrs.evolve(ROOT, epoch=2)
    new = log_id(POOL, second).hex()
    old, young = holder(1, 99, 9), holder(4, 5, 3, epoch=2, log_id=new, followed_epoch=2)
    other = holder(5, 50, 8, epoch=2, log_id="bb" * 32, followed_epoch=2)
    assert propose(POOL, second, [old, other, young]).founder.node_id == name(4)


def test_states_that_differ_are_nobodys_base() -> None:
    """Two logs that end alike give one state."""
    with pytest.raises(Conflict, match="one of them is wrong"):
        propose(POOL, ROOT, [holder(1), holder(9, state_digest="01" + "bb" * 32)])


def test_who_is_too_old_for_the_end_of_its_log_founds_nothing() -> None:
    """It cannot say which state is there; whoever can is named in its place."""
    old = holder(3, state_digest=None)
    with pytest.raises(Conflict, match=r"too old to read the end\. Begin again in a minute"):
        propose(POOL, ROOT, [old])
    assert propose(POOL, ROOT, [old, holder(9)]).founder.node_id == name(9)


def test_nothing_to_go_on_from() -> None:
    """No log that answers, or no pool that was founded; an empty log only where none is left."""
    with pytest.raises(Conflict, match="holds a log, so the next epoch has no base"):
        propose(POOL, ROOT, [without(1), without(2)])
    with pytest.raises(Conflict, match="never founded"):
        propose(POOL, None, [without(1)])
    made = propose_empty(ROOT, [without(1), without(2)], name(2))
    assert (made.root.epoch, made.root.previous) == (2, None)
    assert made.root.founder == b"\x02" * 20
    with pytest.raises(Conflict, match="not all is lost"):
        propose_empty(ROOT, [without(1), holder(2)], name(1))


def test_a_holder_is_read_from_the_api() -> None:
    """What a newer agent says beyond that is passed over."""
    answer = attrs.asdict(holder(3)) | {"voters": list(VOTERS), "newer": 1}
    assert read_held_log(answer) == holder(3)
