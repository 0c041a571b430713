"""Subnets for tasks: in the owner's ranges, in nobody's way, and enough of them."""

from ipaddress import IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from p2pool.drivers.containers.docker.networks.subnets import first_free, prefix_for
from p2pool.drivers.containers.settings import SUBNETS
from p2pool.model import limits

RANGES = SUBNETS
SMALL = IPv4Network("10.213.4.0/22")


def test_two_hundred_tasks_and_more_have_a_subnet_each() -> None:
    """None overlaps another, and the first range alone has room for thousands."""
    taken: list[IPv4Network] = []
    for _ in range(1000):
        found = first_free(RANGES, taken, prefix_for(1))
        assert found is not None
        taken.append(found)
    assert taken == list(RANGES[0].subnets(new_prefix=29))[:1000]


def test_a_subnet_has_room_for_all_copies_and_their_successors() -> None:
    """Beside its own address, the machine's, and the broadcast."""
    for replicas in (1, 2, 3, 6, 7, 100, limits.ALLOCATIONS_PER_NODE_MAX):
        size = IPv4Network((0, prefix_for(replicas))).num_addresses
        assert size >= 2 * replicas + 3
        assert size < 2 * (2 * replicas + 3) or size == limits.TASK_SUBNET_MIN_ADDRESSES


networks = st.builds(
    lambda at, prefix: IPv4Network((at, prefix), strict=False),
    st.integers(int(SMALL.network_address) - 512, int(SMALL.broadcast_address) + 512),
    st.integers(20, 32),
)


@given(taken=st.lists(networks, max_size=12), prefix=st.integers(24, 29))
def test_what_is_free_is_the_first_that_overlaps_nothing(
    taken: list[IPv4Network], prefix: int
) -> None:
    """Whatever is taken: the same as by trying each."""
    free = [
        one
        for one in SMALL.subnets(new_prefix=prefix)
        if not any(one.overlaps(other) for other in taken)
    ]
    assert first_free((SMALL,), taken, prefix) == (free[0] if free else None)


def test_a_range_that_is_taken_is_followed_by_the_next() -> None:
    """A site that routes the whole of 10/8 leaves the other ranges."""
    found = first_free(RANGES, [IPv4Network("10.0.0.0/8")], 29)
    assert found == IPv4Network("172.29.0.0/29")
    assert first_free(RANGES, [IPv4Network("0.0.0.0/0")], 29) is None
