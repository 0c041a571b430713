"""Who walks along a chain of committees, a node or an outsider, refuses what does not hold."""

import attrs
import pytest

from p2pool.core.knowledge.leadership.leader_certificate import LeaderCertificates
from p2pool.model.errors import NotForUs
from p2pool.model.log.certificates import CommitteeChain, LeaderProof, Link
from p2pool.proofs.committee_walk import Uncertified, walk_links
from p2pool.wire.enclosures import open_one
from p2pool.wire.leader_verification import verify_leader
from tests.wire.committee import FOUNDING, A, B, C, Member, change, proven, voters
from tests.wire.samples import NOW_MS, POOL

PROOF = proven()
OURS = CommitteeChain(1, voters([A]))


def signed_link(index: int, before: tuple[Member, ...], after: tuple[Member, ...]) -> Link:
    """A change that all voters before it signed, at any index."""
    words = [attrs.evolve(change(m, before, after, index), log_id=PROOF.log_id) for m in before]
    sealed = tuple(m.seal(word) for m, word in zip(before, words, strict=True))
    return Link(index, 2, NOW_MS, voters(after), sealed)


def chain_of(*links: Link) -> CommitteeChain:
    return CommitteeChain(1, voters([A]), links)


def opened(chain: CommitteeChain) -> list[list[object]]:
    return [[open_one(POOL, one) for one in link.signatures] for link in chain.links]


def walk_as_a_node(chain: CommitteeChain) -> LeaderCertificates:
    """As a node whose own log shows the founder alone."""
    known = LeaderCertificates()
    known.walk(chain, opened(chain), OURS, PROOF.log_id)  # type: ignore[arg-type]
    return known


def walk_as_an_outsider(chain: CommitteeChain) -> None:
    """As who has read the root record on the chain, and nothing else."""
    proof: LeaderProof = attrs.evolve(PROOF, chain=chain)
    verify_leader(POOL, FOUNDING, proof, NOW_MS + 5_000)


def test_both_come_to_the_last_committee() -> None:
    """By a chain that holds, all of it is proven."""
    walk_as_an_outsider(PROOF.chain)
    known = walk_as_a_node(PROOF.chain)
    assert known.proven == (voters((A, B)), voters((A, B, C)))


@pytest.mark.parametrize("index", [7, 6, 0], ids=["the same index", "an earlier one", "none"])
def test_links_out_of_order_are_refused_by_both(index: int) -> None:
    """However well they are signed: a change that was undone is not made again by a replay."""
    chain = chain_of(
        signed_link(7, (A,), (A, B)),
        signed_link(index, (A, B), (A, B, C)),
    )
    for walk in (walk_as_an_outsider, walk_as_a_node):
        with pytest.raises(NotForUs, match="Change 2 of the committee is out of order"):
            walk(chain)


def test_what_was_proven_before_a_fault_stays_proven() -> None:
    """A node keeps the committees before the change that does not hold, and none after it."""
    first, second = PROOF.chain.links
    chain = chain_of(first, attrs.evolve(second, signatures=second.signatures[:1]))
    known = LeaderCertificates()
    with pytest.raises(Uncertified, match="1 of 2 previous voters"):
        known.walk(chain, opened(chain), OURS, PROOF.log_id)  # type: ignore[arg-type]
    assert known.proven == (voters((A, B)),)


def test_a_walk_from_the_middle_looks_at_what_follows_alone() -> None:
    """Whoever trusts a committee need not be shown how it came to be."""
    first, second = PROOF.chain.links
    chain = chain_of(attrs.evolve(first, signatures=()), second)
    signed = [[open_one(POOL, one) for one in second.signatures]]
    assert list(walk_links(chain, 1, signed, PROOF.log_id)) == [voters((A, B, C))]
    again = chain_of(first, signed_link(first.index, (A, B), (A, B, C)))
    with pytest.raises(NotForUs, match="out of order"):
        list(walk_links(again, 1, opened(again)[1:], PROOF.log_id))  # type: ignore[arg-type]
