"""What an honest pool says in its worst minute is within the budgets, through whatever relay."""

from collections import Counter

import attrs
import pytest
import trio
import trio.testing

from p2pool.drivers.net import gossip_intake
from p2pool.drivers.net.gossip_intake import ED25519_ID, GossipIntake
from p2pool.model import limits
from p2pool.model.messages.registry import Channel

RELAY = b"relay"
MINUTE_S = 60


@attrs.frozen
class Said:
    """A message as far as the intake looks at it, in the library's names."""

    from_id: bytes
    seqno: bytes
    data: bytes = bytes(limits.HEARTBEAT_AIM_BYTES)
    topicIDs: tuple[str, ...] = ("beat",)
    signature: bytes = bytes(64)


def said(member: int, number: int, size: int = limits.HEARTBEAT_AIM_BYTES) -> Said:
    """A member's message."""
    origin = ED25519_ID + member.to_bytes(32, "big")
    return Said(origin, number.to_bytes(8, "big"), bytes(size))


@attrs.define
class Relayed:
    """All of a pool's gossip, handed on by one relay to a node that knows all members, or none."""

    known: bool
    counters: Counter[str] = attrs.field(factory=Counter)
    intake: GossipIntake = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.intake = GossipIntake(
            {"beat": Channel.BEAT},
            knows_origin=lambda key: self.known,
            check_gossip=lambda channel, data: True,
            counters=self.counters,
        )

    def takes(self, message: Said) -> bool:
        """Whether a message comes through."""
        heard = self.intake.is_heard(RELAY) and self.intake.may_check(RELAY, message)
        return heard and self.intake.is_signed(RELAY, message)


@pytest.fixture(autouse=True)
def _signed(monkeypatch: pytest.MonkeyPatch) -> None:
    """All signatures verify."""
    monkeypatch.setattr(gossip_intake, "signature_validator", lambda message: True)


async def test_another_leader_and_all_members_say_so_through_one_relay(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Ten thousand at one moment, again when the next one leads, and their usual beat between."""
    pool = Relayed(known=True)
    number = 0
    for second in range(MINUTE_S):
        storm = second % 20 == 0
        members = limits.MEMBERS_MAX if storm else limits.HEARTBEAT_MEMBERS_PER_SECOND
        for member in range(members):
            assert pool.takes(said(member, number)), pool.counters
            number += 1
        await trio.sleep(1)
    assert not pool.counters


async def test_a_newcomer_that_knows_nobody_hears_the_usual_beat(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Until it knows whose keys these are, all of them count for the relay; long ones too."""
    pool = Relayed(known=False)
    for second in range(MINUTE_S):
        for member in range(limits.HEARTBEAT_MEMBERS_PER_SECOND):
            size = 2 * limits.GOSSIP_COST_BYTES if member < 2 else limits.HEARTBEAT_AIM_BYTES
            assert pool.takes(said(member, second, size)), pool.counters
        await trio.sleep(1)


async def test_one_member_whose_tasks_flap_is_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The longest heartbeat, and the longest announcement, each as often as they may change."""
    pool = Relayed(known=True)
    per_s = (
        1_000 // limits.HEARTBEAT_CHANGE_INTERVAL_MS + 1_000 // limits.ANNOUNCE_CHANGE_INTERVAL_MS
    )
    for second in range(MINUTE_S):
        for number in range(per_s):
            longest = said(1, per_s * second + number, limits.GOSSIP_MESSAGE_MAX_BYTES)
            assert pool.takes(longest), pool.counters
        await trio.sleep(1)
