"""The accounts behind a message's requests come in its order, and bad ones as None."""

import attrs

from p2pool.model.access.requests import Action, SignedRequest, Signers, TaskRequest
from p2pool.model.ids import ZERO_TOKEN, AllocationId, TaskId
from p2pool.model.messages.queries import Ping, RequestForwarded
from p2pool.model.messages.work import Desired, Order
from p2pool.wire import typed_data
from p2pool.wire.signers import SignerCache
from tests.wire.samples import ACCOUNT, NODE_ID, NOW_S, OTHER_ACCOUNT, POOL

REQUEST = TaskRequest(
    action=Action.SUBMIT,
    pool_id=1,
    target="",
    spec_json="{}",
    request_id=b"r" * 32,
    not_before_s=NOW_S,
    not_after_s=NOW_S + 600,
)
MINE = typed_data.sign_request(POOL, ACCOUNT, REQUEST)
OTHERS = typed_data.sign_request(POOL, OTHER_ACCOUNT, REQUEST)
BROKEN = attrs.evolve(MINE, signature=bytes(65))


def order(*requests: SignedRequest) -> Order:
    """An order to run these."""
    names = [AllocationId(TaskId(bytes(16)), n) for n in range(len(requests))]
    desired = [Desired(name, 1, one, ()) for name, one in zip(names, requests, strict=True)]
    return Order(NODE_ID, ZERO_TOKEN, tuple(desired), ())


def test_signers_come_in_order() -> None:
    """One answer for each request, None for one that nobody signed."""
    cache = SignerCache(POOL)
    mine, others = (Signers(typed_data.recover_request(POOL, one)) for one in (MINE, OTHERS))
    assert cache.signers_in(order(OTHERS, BROKEN, MINE)) == (others, None, mine)
    assert cache.signers_in(RequestForwarded(1, MINE, NODE_ID)) == (mine,)
    assert cache.signers_in(Ping(1)) == ()
    assert len(cache) == 3


def test_memory_is_bounded() -> None:
    """Only so many answers are remembered, and what is forgotten is found again."""
    cache = SignerCache(POOL, most=1)
    first = cache.signers(MINE)
    assert first != cache.signers(OTHERS)
    assert len(cache) == 1
    assert cache.signers(MINE) == first
