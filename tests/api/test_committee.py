"""A committee on its way from one to another is shown as two: each needs a majority of its own."""

import attrs

from p2pool.api.resources.pool import committee_of
from p2pool.model.ids import NodeId, PeerKey, StoreId
from p2pool.model.log.raft import Configuration, Voter
from tests.api.fakes import sample_view

B, C, D, E = (
    Voter(NodeId(bytes([n]) * 20), PeerKey(bytes([n]) * 32), StoreId(bytes([n]) * 16))
    for n in range(2, 6)
)


def test_a_committee_that_changes_shows_both_halves() -> None:
    """Who comes, who goes, and how many of each must agree: one number would hide the other."""
    told = committee_of(
        attrs.evolve(sample_view(), configuration=Configuration((B, C, D), (), (B, E)))
    )
    assert (told.quorum, told.outgoing_quorum) == (2, 2)
    flags = [(m.voter, m.comes, m.goes) for m in told.members]
    stays, comes, goes = (True, False, False), (True, True, False), (True, False, True)
    assert flags == [stays, comes, comes, goes]


def test_a_committee_that_stands_has_one_quorum() -> None:
    """Nobody comes or goes, and a learner has no vote."""
    told = committee_of(attrs.evolve(sample_view(), configuration=Configuration((B, C, D), (E,))))
    assert (told.quorum, told.outgoing_quorum) == (2, None)
    assert [m.voter for m in told.members] == [True, True, True, False]
    assert not any(m.comes or m.goes for m in told.members)
