"""What is offered for gas: by the base fee, under the cap, and enough to take a place again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.drivers.chain.transactions.fees import Fees, Market, offer, raised
from p2pool.model import limits
from p2pool.model.errors import FeesTooHigh
from tests.chain.transactions.geth_pool import GWEI

CAP_WEI = 200 * GWEI
PRICES = st.integers(0, 1000 * GWEI)


def market(base_wei: int | None, suggested_wei: int = GWEI) -> Market:
    return Market(1, 0, base_wei, suggested_wei)


def test_an_offer_is_twice_the_base_fee_and_the_tip_as_suggested() -> None:
    """A margin on the tip would come back as the next suggestion."""
    assert offer(market(10 * GWEI), CAP_WEI) == Fees(21 * GWEI, GWEI)


def test_a_tip_is_measured_against_the_base_fee() -> None:
    """A suggestion made of what few paid is no price; a chain where all pay much is."""
    assert offer(market(GWEI, 500 * GWEI), CAP_WEI).tip_wei == limits.GAS_TIP_MAX_WEI
    assert offer(market(60 * GWEI, 50 * GWEI), CAP_WEI).tip_wei == 50 * GWEI
    assert offer(market(7, 0), CAP_WEI) == Fees(15, 1)


def test_a_chain_without_a_base_fee_has_one_price() -> None:
    """It is taken as it is said, within the cap."""
    assert offer(market(None, 3 * GWEI), CAP_WEI).fields() == {"gasPrice": 3 * GWEI}
    more = raised(Fees(3 * GWEI, 3 * GWEI, legacy=True), market(None, 3 * GWEI), CAP_WEI)
    assert more is not None
    assert more.fields() == {"gasPrice": 3 * GWEI * 1125 // 1000}
    with pytest.raises(FeesTooHigh):
        offer(market(None, CAP_WEI + 1), CAP_WEI)


def test_under_a_base_fee_above_the_cap_nothing_is_offered() -> None:
    """Up to it, whatever fits is."""
    with pytest.raises(FeesTooHigh, match="costs 200 gwei now"):
        offer(market(CAP_WEI), CAP_WEI)
    assert offer(market(CAP_WEI - 1), CAP_WEI) == Fees(CAP_WEI, 1)
    assert raised(Fees(GWEI, 1), market(CAP_WEI), CAP_WEI) is None


@given(PRICES, PRICES, PRICES, PRICES, st.integers(1, 400 * GWEI))
def test_an_offer_again_is_one_that_pools_take(
    base: int, tip: int, later: int, later_tip: int, cap: int
) -> None:
    """Over the old one by a tenth in both, within the cap, above the base fee; or none."""
    try:
        old = offer(market(base, tip), cap)
    except FeesTooHigh:
        assert base >= cap
        return
    assert base < old.most_wei <= cap
    assert 1 <= old.tip_wei <= old.most_wei
    new = raised(old, market(later, later_tip), cap)
    if new is None:
        assert later >= cap or old.most_wei * 110 > cap * 100 or old.tip_wei * 110 > cap * 100
        return
    assert later < new.most_wei <= cap
    assert new.tip_wei <= new.most_wei
    for before, after in ((old.most_wei, new.most_wei), (old.tip_wei, new.tip_wei)):
        assert after > before
        assert after * 100 >= before * 110
