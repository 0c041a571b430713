"""What is kept of signed histories: the newest ones, whatever is repeated."""

from p2pool.core.log.histories import Histories
from p2pool.model import limits
from p2pool.model.ids import Digest
from p2pool.model.log.certificates import SignedHistory

MOST = limits.HISTORIES_KEPT_MAX


def said(index: int, text: bytes = b"h") -> SignedHistory:
    return SignedHistory(index, Digest(text * 32))


def test_what_was_signed_long_ago_displaces_nothing() -> None:
    """Whoever hands on old ones, each with a true quorum, keeps nobody from the newest."""
    held = Histories()
    for index in range(1, 3 * MOST):
        held.sign(said(index))
    for index in range(1, 2 * MOST):
        held.sign(said(index))
    assert sorted(held.signed) == list(range(2 * MOST, 3 * MOST))


def test_ours_is_proven_or_contradicted_in_either_order() -> None:
    """Applied first or signed first; and what was signed long ago is compared all the same."""
    held = Histories()
    held.applied(5, Digest(b"h" * 32))
    held.sign(said(5))
    held.sign(said(7))
    held.applied(7, Digest(b"h" * 32))
    assert (held.proven_index, held.contradicted_index) == (7, None)
    held.applied(8, Digest(b"x" * 32))
    for index in range(100, 100 + MOST):
        held.sign(said(index))
    held.sign(said(8))
    assert held.contradicted_index == 8


def test_what_was_signed_of_a_log_outlives_our_copy_of_it() -> None:
    """Until another log replaces it."""
    held = Histories()
    held.begin(Digest(b"a" * 32))
    held.sign(said(5))
    held.applied(5, Digest(b"x" * 32))
    held.forget()
    held.begin(Digest(b"a" * 32))
    assert (held.contradicted_index, list(held.signed), list(held.ours)) == (None, [5], [])
    held.begin(Digest(b"b" * 32))
    assert list(held.signed) == []
