"""Nodes move along their tables alone: what has no row changes nothing, whoever leads."""

from itertools import product

import attrs
import pytest

from p2pool.core.fsm.state import NodeRecord, PoolState
from p2pool.model.log.entries import NodeChanged
from p2pool.model.states import (
    INTENT,
    REACHABILITY,
    Intent,
    IntentEvent,
    Reachability,
    advance,
)
from tests.core.fsm.records import NODE, POOL, feed


def judged(old: NodeRecord, reachability: Reachability, intent: Intent) -> NodeRecord:
    """What a node is after an entry that a leader wrote, whatever it says."""
    state = PoolState(POOL, 1)
    state.nodes[NODE] = old
    feed(state, NodeChanged(NODE, reachability, intent, "why"))
    return state.node(NODE)


@pytest.mark.parametrize(("old", "new"), tuple(product(Reachability, Reachability)))
def test_each_pair_of_reachability(old: Reachability, new: Reachability) -> None:
    """A row of the table happens; every other pair is passed over, and says nothing of a reason."""
    before = NodeRecord(NODE, reachability=old, reason="before")
    after = judged(before, new, Intent.ELIGIBLE)
    if new in REACHABILITY[old].values():
        assert (after.reachability, after.reason) == (new, "why")
    else:
        assert after == before


def test_what_a_leader_may_write_of_reachability() -> None:
    """Word for word, so that no row comes in by mistake; suspicion is an observer's own."""
    pairs = {(old, new) for old, row in REACHABILITY.items() for new in row.values()}
    assert pairs == {
        (Reachability.HEALTHY, Reachability.UNREACHABLE),
        (Reachability.UNREACHABLE, Reachability.HEALTHY),
        (Reachability.UNREACHABLE, Reachability.DEAD),
        (Reachability.DEAD, Reachability.HEALTHY),
    }


@pytest.mark.parametrize(("old", "new"), tuple(product(Intent, Intent)))
def test_each_pair_of_intent(old: Intent, new: Intent) -> None:
    """A leader only says that draining is done; all else is asked for by a signed request."""
    before = NodeRecord(NODE, intent=old)
    after = judged(before, Reachability.HEALTHY, new)
    done = advance(INTENT, old, IntentEvent.DRAIN_FINISHED) is new
    assert done is ((old, new) == (Intent.DRAINING, Intent.DRAINED))
    assert after == (attrs.evolve(before, intent=new) if done else before)
