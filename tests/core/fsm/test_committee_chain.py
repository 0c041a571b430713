"""The committee's chain in the replicated state: links open, close, are given up and dropped."""

from functools import partial

import attrs

from p2pool.core.fsm import committee_chain as ch
from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.storage.rows import decode_state, digest_of, encode_state
from p2pool.model import limits
from p2pool.model.ids import Address, PoolRef
from p2pool.model.log.certificates import CommitteeChain
from p2pool.model.log.entries import ChangeCertified
from p2pool.wire.enclosures import open_one
from tests.wire.committee import LOG, A, B, C, D, Member, change, voters
from tests.wire.samples import POOL


def grown(*steps: tuple[Member, ...]) -> CommitteeChain:
    """The chain of these committees, one entry apart, none certified."""
    chain = CommitteeChain()
    for index, members in enumerate(steps, start=1):
        chain = ch.extended(chain, 1, voters(members), index, 1, index * 1000)
    return chain


def test_the_founder_needs_no_link() -> None:
    """The root record certifies it; learners alone are no change either."""
    chain = grown((A,), (A,), (A,))
    assert chain == CommitteeChain(1, voters([A]))
    assert ch.open_link(chain) is None


def test_a_change_waits_for_a_quorum_of_those_before() -> None:
    """Of one: one. Of two: both."""
    chain = grown((A,), (A, B))
    link = ch.open_link(chain)
    assert link is not None
    assert chain.before(link) == voters([A])
    chain = ch.certified(chain, ChangeCertified(2, (b"a",)))
    assert ch.open_link(chain) is None
    chain = ch.extended(chain, 1, voters([A, B, C]), 3, 1, 0)
    assert len(ch.incomplete(chain)) == 1
    assert ch.open_link(ch.certified(chain, ChangeCertified(3, (b"a", b"b")))) is None


def test_a_change_can_be_given_up_and_completed_later() -> None:
    """It says so, keeps what it had, and takes more when it comes."""
    chain = grown((A, B), (A,))
    given_up = ch.certified(chain, ChangeCertified(2, (b"a",)))
    (link,) = given_up.links
    assert link.given_up
    assert link.signatures == (b"a",)
    assert ch.open_link(given_up) is None
    assert ch.incomplete(given_up) == (link,)
    assert ch.certified(given_up, ChangeCertified(2, ())) == given_up
    done = ch.certified(given_up, ChangeCertified(2, (b"a", b"b")))
    assert not done.links[0].given_up
    assert ch.incomplete(done) == ()
    assert ch.certified(done, ChangeCertified(2, (b"x", b"y", b"z"))) == done


def test_signatures_of_no_change_change_nothing() -> None:
    """A leader may write what it likes."""
    chain = grown((A,), (A, B))
    assert ch.certified(chain, ChangeCertified(9, (b"a",))) == chain


def test_the_oldest_links_are_dropped_and_counted() -> None:
    """From the base that is left on, the chain is whole."""
    chain = grown((A,))
    for n in range(limits.CHAIN_LINKS_MAX + 5):
        chain = ch.extended(chain, 1, voters([A, B] if n % 2 == 0 else [A]), n + 2, 1, 0)
    assert len(chain.links) == limits.CHAIN_LINKS_MAX
    assert chain.dropped == 5
    assert chain.base == voters([A, B])
    assert chain.before(chain.links[0]) == chain.base


def test_another_epoch_begins_another_chain() -> None:
    """What the old log's voters said is nothing to the new one's."""
    chain = ch.extended(grown((A,), (A, B)), 2, voters([D]), 9, 1, 0)
    assert chain == CommitteeChain(2, voters([D]))


def test_the_chain_is_in_the_snapshot() -> None:
    """Every replica and every next leader has it."""
    state = PoolState(PoolRef(1, Address(b"c" * 20), 1), 1)
    before = digest_of(state)
    state.chain = ch.certified(grown((A,), (A, B)), ChangeCertified(2, (b"a",)))
    assert decode_state(encode_state(state)).chain == state.chain
    assert digest_of(attrs.evolve(state, known_digest=None)) != before


LATE_MS = 2_000 + limits.VOTER_REPLACE_AFTER_MS
"""When the change at 2 has waited long enough."""


# --- signatures by their voters -------------------------------------------------------------------


def signature(by: Member, index: int = 2) -> bytes:
    """What a voter of A, B and C signs of the change to A and B."""
    return by.seal(attrs.evolve(change(by, (A, B, C), (A, B), index), term=1))


def test_junk_closes_no_link_and_keeps_no_signature_out() -> None:
    """At level 2 each counts by its voter; junk, a stranger's and one twice do not."""
    chain = grown((A, B, C), (A, B))
    once = signature(A)
    junk = ChangeCertified(2, (b"junk", signature(D), signature(B, 3), once, once))
    after = ch.merged(chain, junk, LATE_MS)
    assert after.links[0].signatures == (once,)
    assert after.links[0].given_up
    done = ch.merged(after, ChangeCertified(2, (signature(B),)), 0)
    assert done.links[0].signatures == (once, signature(B))
    assert ch.complete(done, done.links[0])
    assert ch.merged(done, ChangeCertified(2, (signature(C),)), 0) == done
    # Below, a number of them was enough: such a log reads as it did.
    assert ch.open_link(ch.certified(chain, ChangeCertified(2, (b"x", b"y")))) is None


def test_a_change_is_given_up_only_after_its_deadline() -> None:
    """Whoever says so; signatures count at any time, and what is given up stays so until a quorum
    has signed."""
    chain = grown((A, B, C), (A, B))
    once = ChangeCertified(2, (signature(A),))
    for record in (once, ChangeCertified(2, ()), ChangeCertified(2, (signature(A), signature(D)))):
        for at_ms in (0, LATE_MS - 1):
            assert ch.gives_up_early(chain, record, at_ms)
            assert ch.open_link(ch.merged(chain, record, at_ms)) is not None
        assert not ch.gives_up_early(chain, record, LATE_MS)
        assert ch.open_link(ch.merged(chain, record, LATE_MS)) is None
    early = ch.merged(chain, once, LATE_MS - 1)
    assert early.links[0].signatures == once.signatures
    assert ch.merged(early, once, LATE_MS).links[0].given_up
    given_up = ch.merged(chain, ChangeCertified(2, ()), LATE_MS)
    assert ch.merged(given_up, once, 0).links[0].given_up
    both = ChangeCertified(2, (signature(A), signature(B)))
    assert not ch.gives_up_early(chain, both, 0)
    assert ch.incomplete(ch.merged(early, both, 0)) == ()
    assert not ch.gives_up_early(chain, ChangeCertified(9, ()), 0)


def test_a_voter_appends_no_signature_that_is_none() -> None:
    """It opens each: one that does not verify, or is not its voter's own, is a leader's lie."""

    def why(*sealed: bytes) -> str | None:
        return ch.unsigned(ChangeCertified(2, sealed), LOG, partial(open_one, POOL))

    assert why(signature(A), signature(B)) is None
    assert why() is None
    broken = bytearray(signature(A))
    broken[-1] ^= 1
    borrowed = B.seal(attrs.evolve(change(A, (A, B, C), (A, B), 2), term=1))
    for bad in (b"junk", bytes(broken), signature(A, 3), borrowed):
        assert why(signature(C), bad) is not None
    assert why(signature(A), signature(A)) is not None
