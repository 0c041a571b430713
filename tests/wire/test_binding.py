"""A binding is good only whole, in its time, for its pool, and from its own peer."""

from typing import Any

import attrs
import pytest

from p2pool.model import limits
from p2pool.model.errors import BadSignature, Malformed, NotForUs, Refusal, Stale
from p2pool.model.ids import Address, PeerKey
from p2pool.model.peer_binding import PeerBinding
from p2pool.wire.binding import check_binding, make_binding, renewal_due
from tests.wire.samples import (
    ACCOUNT,
    KEY,
    NODE_ID,
    NOW_S,
    OTHER_ACCOUNT,
    OTHER_KEY,
    PEER_KEY,
    POOL,
)

GOOD = make_binding(POOL, ACCOUNT, KEY, NOW_S, 3600)
OTHER = make_binding(POOL, ACCOUNT, OTHER_KEY, NOW_S, 3600)


def check(binding: PeerBinding, now_s: int = NOW_S) -> None:
    """Check as on a connection that Noise authenticated as the first key."""
    check_binding(binding, POOL, PEER_KEY, now_s)


def test_good() -> None:
    """Both keys vouch, for as long as stated, on a connection or passed on."""
    assert GOOD.node_id == NODE_ID
    check(GOOD)
    check(GOOD, NOW_S + 3600)
    check(GOOD, NOW_S - limits.BINDING_FUTURE_MAX_S)
    check_binding(OTHER, POOL, None, NOW_S)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"chain_id": 1}, NotForUs),
        ({"contract": Address(b"d" * 20)}, NotForUs),
        ({"pool_id": 2}, NotForUs),
        ({"peer_key": PeerKey(bytes(OTHER_KEY.verify_key))}, NotForUs),
        ({"node_id": bytes(20)}, BadSignature),
        ({"not_before_s": NOW_S - 1}, BadSignature),
        ({"not_after_s": NOW_S + 3601}, BadSignature),
        ({"not_after_s": NOW_S + limits.BINDING_LIFETIME_MAX_S + 1}, Malformed),
        ({"not_after_s": NOW_S}, Malformed),
        ({"not_before_s": -1}, Malformed),
        ({"node_signature": OTHER.node_signature}, BadSignature),
        ({"peer_signature": OTHER.peer_signature}, BadSignature),
        ({"node_signature": bytes(65)}, BadSignature),
        ({"peer_signature": bytes(64)}, BadSignature),
        ({"peer_signature": b""}, BadSignature),
    ],
)
def test_changed(change: dict[str, Any], refusal: type[Refusal]) -> None:
    """Any field changed is refused, with whose fault it is."""
    with pytest.raises(refusal):
        check(attrs.evolve(GOOD, **change))


def test_times() -> None:
    """The future is refused, and so is the past."""
    with pytest.raises(Stale, match="begins in"):
        check(GOOD, NOW_S - limits.BINDING_FUTURE_MAX_S - 1)
    with pytest.raises(Stale, match="expired"):
        check(GOOD, NOW_S + 3601)


def test_both_keys_must_vouch() -> None:
    """Who holds one of the keys cannot claim the other."""
    stranger = make_binding(POOL, OTHER_ACCOUNT, KEY, NOW_S, 3600)
    with pytest.raises(BadSignature, match="key did not sign"):
        check(attrs.evolve(stranger, node_id=NODE_ID))


def test_a_binding_is_signed_anew_by_the_wall_clock() -> None:
    """At half of its life, and once a clock that was ahead is mended: until then it is void."""
    made = make_binding(POOL, ACCOUNT, KEY, 10**6, 1_000)
    due = [renewal_due(made, 10**6 + s) for s in (-86_400, -1, 0, 499, 500, 2_000)]
    assert due == [True, True, False, False, True, True]
