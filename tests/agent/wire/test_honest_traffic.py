"""The largest messages of honest members, and their worst minute, are within the budgets."""

import attrs

from p2pool.codec.cbor import canonical
from p2pool.codec.payloads import encode_payload
from p2pool.model import limits
from p2pool.model.log.certificates import Link
from p2pool.model.log.raft import Voter
from p2pool.model.messages.certificates import CertificatesAnswered
from p2pool.model.messages.gossip import Heartbeat
from p2pool.model.messages.registry import Message
from p2pool.model.messages.work import Order, Report
from p2pool.model.timing import TIMINGS
from p2pool.wire.enclosures import enclosed_in
from tests.codec.samples import example
from tests.wire.samples import HEADER

MINUTE_MS = 60_000


def values(message: Message) -> int:
    """Of how many values a message is."""
    return canonical.count(encode_payload(HEADER, message))


def longest_heartbeat() -> Heartbeat:
    """All copies that fit, on a machine with all GPUs."""
    made: Heartbeat = example(Heartbeat)
    (allocation,) = made.allocations[:1]
    assert made.hardware is not None
    (gpu,), (load,) = made.hardware.gpus[:1], made.load.gpus[:1]
    many = limits.GPUS_PER_NODE_MAX
    return attrs.evolve(
        made,
        allocations=(allocation,) * limits.ALLOCATIONS_PER_HEARTBEAT_MAX,
        hardware=attrs.evolve(made.hardware, gpus=(gpu,) * many),
        load=attrs.evolve(made.load, gpus=(load,) * many),
    )


def longest_order() -> Order:
    """All copies of a node, the GPUs among them, and as many to stop."""
    made: Order = example(Order)
    (desired,), (stop,) = made.desired[:1], made.stops[:1]
    word = made.certificate[:1]
    most = limits.ALLOCATIONS_PER_NODE_MAX
    return attrs.evolve(
        made,
        desired=(desired,) * most,
        stops=(stop,) * most,
        certificate=word * (limits.VOTERS_MAX + 1),
    )


def longest_chain() -> CertificatesAnswered:
    """As many links as a log keeps, each with all voters and their signatures."""
    made: CertificatesAnswered = example(CertificatesAnswered)
    voter: Voter = example(Voter)
    words = (b"w" * 9,) * (limits.VOTERS_MAX + 1)
    link = Link(1, 1, 1, (voter,) * limits.VOTERS_MAX, words)
    chain = attrs.evolve(made.chain, links=(link,) * limits.CHAIN_LINKS_MAX)
    return attrs.evolve(made, chain=chain, certificate=words, votes=words)


def longest_report() -> Report:
    """All outcomes of a node, and as many claims as travel together."""
    made: Report = example(Report)
    outcomes = made.outcomes[:1] * limits.ALLOCATIONS_PER_NODE_MAX
    return attrs.evolve(made, outcomes=outcomes, claims=made.claims[:1] * 64)


def test_the_longest_messages_have_room_for_their_values() -> None:
    """And an order, again with each change, for what it is charged."""
    assert values(longest_heartbeat()) <= limits.GOSSIP_ITEMS_MAX
    for message in (longest_order(), longest_chain(), longest_report()):
        assert values(message) <= limits.FRAME_ITEMS_MAX
    orders_per_s = 1_000 // limits.DECIDE_INTERVAL_MS
    assert values(longest_order()) * orders_per_s < limits.MEMBER_ITEMS_PER_S
    # A guest, as a member is to a newcomer, answers with a chain now and then.
    assert values(longest_chain()) * 3 < limits.GUEST_ITEMS_BURST


def test_a_storm_of_elections_is_within_the_budget_of_signatures() -> None:
    """A candidate of the largest committee, amid a change, that asks all over again at the shortest
    timeout for a minute: a round of pre-votes and one of votes, each shown with the votes of both
    halves, none of them seen before; and it wins each time and announces that."""
    rounds = MINUTE_MS // min(timing.election_timeout_min_ms for timing in TIMINGS.values())
    shown = 2 * limits.VOTERS_MAX
    asked = rounds * 2 * shown
    announced = MINUTE_MS // limits.ANNOUNCE_CHANGE_INTERVAL_MS * 2 * (limits.VOTERS_MAX + 1)
    spent = limits.MEMBER_SIGNATURES_BURST + 60 * limits.MEMBER_SIGNATURES_PER_S
    assert asked + announced <= spent


def test_a_leader_that_takes_over_may_show_each_node_all_that_it_runs() -> None:
    """An order for all copies, with its certificate and that of its election, at once."""
    order = longest_order()
    new = len(enclosed_in(order)) + len(order.desired) + 2 * (limits.VOTERS_MAX + 1)
    assert new <= limits.MEMBER_SIGNATURES_BURST
