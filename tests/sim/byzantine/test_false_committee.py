"""Members say that another committee decides: whom that convinces, and whom never."""

import attrs
import pytest

from p2pool.codec.digests import committee_hash
from p2pool.model import limits
from p2pool.model.ids import Address
from tests.sim.faults.member_liars import FalseCommittee, voter
from tests.sim.harness.committee import problems
from tests.sim.harness.pool import FORMED_MS, Pool, started
from tests.sim.world.machine import Machine

ONE = Address(b"\x99" * 20)


@attrs.frozen
class Beset:
    """Five nodes with a committee of one; three lie, and one that is no voter does not."""

    pool: Pool
    liars: FalseCommittee
    victim: Machine

    @classmethod
    def formed(cls, *, providers: int) -> "Beset":
        """A pool whose liars are nodes of one provider, or of one each."""
        pool = started(5, committee=1)
        liars = pool.world.machines[1:4]
        if providers == 1:
            for m in liars:
                pool.world.providers[m.number] = ONE
        pool.world.run(FORMED_MS)
        node = pool.node(pool.leader().number)
        assert len(node.context.pool_log.configuration.voters) == 1
        return cls(pool, FalseCommittee(pool, liars), pool.world.machines[4])

    def follows(self) -> Machine | None:
        """Whom the victim follows."""
        led_by = self.pool.node(self.victim.number).context.leader(self.pool.world.now(self.victim))
        return next((m for m in self.pool.world.machines if m.node_id == led_by), None)

    def cut_off(self) -> None:
        """From now on the victim hears none but liars."""
        hidden = [m for m in self.pool.world.machines if m not in self.liars.machines]
        self.pool.world.cut = {(m.number, self.victim.number) for m in hidden}
        self.pool.world.relays = False

    def restart(self) -> None:
        """The victim starts again from its disk."""
        self.pool.world.crash(self.victim.number)
        self.pool.world.start(self.victim.number)


def test_a_provider_with_most_members_commands_nobody() -> None:
    """Its nodes name a leader that no voter signed for: whoever follows the committee goes on to,
    whether it has just started or not, and what runs there runs on."""
    beset = Beset.formed(providers=1)
    pool, victim = beset.pool, beset.victim
    endless = pool.run_task(victim.number, replicas=5)
    leader = pool.leader()
    beset.liars.begin()
    for _ in range(4):
        pool.world.run(2_000)
        assert beset.follows() is leader
    beset.restart()
    pool.until(lambda: beset.follows() is leader)
    pool.world.run(8_000)
    assert beset.follows() is leader
    assert beset.liars.answered
    assert pool.states(endless) == ["RUNNING"] * 5


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates lapse soon, and so does the time after one: the rule is the same."""
    monkeypatch.setattr(limits, "CERTIFICATE_LIFETIME_MS", 10_000)
    monkeypatch.setattr(limits, "CERTIFY_INTERVAL_MS", 5_000)
    monkeypatch.setattr(limits, "COMMITTEE_UNHEARD_MS", 60_000)


@pytest.mark.usefixtures("hasty")
def test_whoever_heard_a_committee_lately_takes_nobodys_word() -> None:
    """Nor after a restart: most providers name another leader, and nobody else is heard."""
    beset = Beset.formed(providers=4)
    pool, world, victim = beset.pool, beset.pool.world, beset.victim
    beset.cut_off()
    beset.liars.begin()
    world.run(limits.CERTIFICATE_LIFETIME_MS)
    beset.restart()
    world.run(limits.COMMITTEE_UNHEARD_MS - 20_000)
    assert beset.liars.answered
    assert beset.follows() is not beset.liars.chief
    claimed = committee_hash((voter(beset.liars.chief),)).hex()
    assert f"p2pool agent run --trust {claimed}" in problems(pool, victim.number)
    # It is the last resort of a node whose committee is gone for good.
    pool.world.liars.add(beset.liars.chief.number)
    pool.until(lambda: beset.follows() is beset.liars.chief, 40_000)


@pytest.mark.usefixtures("hasty")
def test_one_provider_convinces_nobody_however_long_it_lasts() -> None:
    """A provider counts once: its three nodes are one voice, and there is one more provider."""
    beset = Beset.formed(providers=1)
    beset.cut_off()
    beset.liars.begin()
    beset.pool.world.run(limits.CERTIFICATE_LIFETIME_MS + limits.COMMITTEE_UNHEARD_MS + 20_000)
    assert beset.follows() is not beset.liars.chief


def test_an_operator_may_vouch_for_a_committee() -> None:
    """`--trust` names it by its hash, at once and against all that the node knows."""
    beset = Beset.formed(providers=1)
    beset.pool.world.liars.add(beset.liars.chief.number)
    beset.liars.begin()
    beset.cut_off()
    beset.pool.world.trusted[beset.victim.number] = (committee_hash((voter(beset.liars.chief),)),)
    beset.restart()
    beset.pool.until(lambda: beset.follows() is beset.liars.chief, 30_000)
