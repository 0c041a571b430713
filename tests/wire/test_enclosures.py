"""Sealed messages inside a message are opened once, in order; what is no good is None."""

from p2pool.model import limits
from p2pool.model.ids import ZERO_TOKEN, Address, Digest, PoolRef, StateDigest
from p2pool.model.messages.certificates import EquivocationProven
from p2pool.model.messages.gossip import Announcement
from p2pool.model.messages.queries import Ping
from p2pool.model.messages.work import Order
from p2pool.wire.enclosures import EnclosedCache, enclosed_in
from tests.wire.committee import A, B, vote, word
from tests.wire.samples import NODE_ID, POOL

DIGEST = Digest(b"d" * 32)
OTHER_POOL = PoolRef(1, Address(b"c" * 20), 1)


def test_certificates_come_before_votes() -> None:
    """In the order in which the core takes them apart again."""
    said = Announcement(
        log_id=DIGEST,
        epoch=1,
        term=2,
        commit_index=3,
        state_digest=StateDigest(b"\x01" + DIGEST),
        certificate=(b"c1", b"c2"),
        votes=(b"v1",),
    )
    assert enclosed_in(said) == (b"c1", b"c2", b"v1")
    assert enclosed_in(EquivocationProven(b"a", b"b")) == (b"a", b"b")
    assert enclosed_in(Ping(1)) == ()


def test_what_is_no_good_is_none_in_its_place() -> None:
    """Garbage, another pool's, damaged, too long: the others are opened all the same."""
    good = A.seal(word(A, (A, B)))
    long = A.seal(vote(A, B, reason="x" * limits.SEALED_SIGNATURE_MAX_BYTES))
    torn = good[:-1] + bytes([good[-1] ^ 1])
    foreign = B.seal(word(B, (A, B)), OTHER_POOL)
    cache = EnclosedCache(POOL)
    order = Order(
        node_id=NODE_ID,
        token=ZERO_TOKEN,
        desired=(),
        stops=(),
        certificate=(b"", torn, good, foreign, long),
    )
    opened = cache.enclosed_in(order)
    assert [v is not None for v in opened] == [False, False, True, False, False]
    assert opened[2] is not None
    assert opened[2].message == word(A, (A, B))
    assert opened[2].header.node_id == A.voter.node_id


def test_the_same_bytes_are_opened_once_and_few_are_kept() -> None:
    """A certificate comes with every order."""
    cache = EnclosedCache(POOL, most=2)
    sealed = [A.seal(vote(A, B, term=n)) for n in range(3)]
    first = cache.open(sealed[0])
    assert cache.open(sealed[0]) is first
    for one in sealed:
        cache.open(one)
    assert len(cache) == 2
    assert cache.open(sealed[0]) is not first
