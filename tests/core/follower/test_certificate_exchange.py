"""A certificate that this node accepted is on its disk at once, and nothing else is ever due."""

from p2pool.core.effects import Persist
from p2pool.core.knowledge.leadership.last_certificate import SEEN_KEY
from p2pool.model.ids import Digest, StateDigest
from p2pool.model.log.certificates import LeaderCertificate
from p2pool.model.log.raft import Voter
from p2pool.model.ports.store import Put
from p2pool.model.timing import Now
from tests.codec.samples import example
from tests.sim.world.world import World

AT = Now(5_000, 1_700_000_000_000)


def test_it_wakes_the_node_while_a_certificate_is_not_noted() -> None:
    """Whichever part accepts one, and however late in a step, the next step notes it."""
    world = World(1, 1)
    world.start(0)
    node = world.machines[0].node
    assert node is not None
    exchange = node.parts.certificate_exchange
    assert exchange.wakeup_ms() is None
    node.context.leader_certificates.known = LeaderCertificate(
        Digest(b"l" * 32),
        3,
        example(Voter),
        Digest(b"c" * 32),
        9,
        StateDigest(b"\x01" * 33),
        AT.wall_ms,
        (),
    )
    assert exchange.wakeup_ms() == 0
    assert node.next_wakeup_ms == 0
    node.context.effects.clear()
    exchange.tick(AT)
    (effect,) = node.context.effects
    assert isinstance(effect, Persist)
    (row,) = effect.operations
    assert isinstance(row, Put)
    assert row.key == SEEN_KEY
    assert exchange.wakeup_ms() is None
