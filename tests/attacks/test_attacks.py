"""Ten seconds of each attack on a pool of real agents: those who use the pool hardly notice."""

import pytest

from tests.attacks.attacker.names import TOGETHER
from tests.attacks.pool import Grounds
from tests.attacks.run import BRIEF, attacked

pytestmark = [pytest.mark.e2e, pytest.mark.chain]


@pytest.mark.parametrize("name", TOGETHER)
async def test_the_pool_serves_under(name: str, place: Grounds) -> None:
    """Memory, API, newcomers, heartbeats and writes stay within the goals, and nobody is misled."""
    run = await attacked(place, BRIEF, *TOGETHER[name], called=name)
    assert place.victim.child.alive, "the victim has ended"
    assert run.problems() == []
