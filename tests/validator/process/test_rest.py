"""How long a validator rests between two turns."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest
import trio

from p2pool.model import limits
from p2pool.model.ids import Address, NodeId
from p2pool.validator.process.rota import Candidate, Rota
from p2pool.validator.process.validator import ValidatorProcess

DUE = Candidate(NodeId(b"\x01" * 20), Address(b"\x02" * 20), True, True)


@attrs.define
class Network:
    """One in which nobody is reached."""

    waits_ms: list[int] = attrs.field(factory=list)

    async def wait_reached(self, deadline_ms: int) -> bool:
        """Notes how long it may take."""
        self.waits_ms.append(deadline_ms)
        return False


@pytest.mark.parametrize("candidates", [(), (DUE,)])
async def test_who_is_cut_off_waits_for_a_while_whoever_was_due(
    candidates: Sequence[Candidate], autojump_clock: trio.testing.MockClock
) -> None:
    """A node that is due since long is no reason for a wait that ended before it began."""
    network = Network()
    watch = SimpleNamespace(candidates=candidates)
    resting = SimpleNamespace(
        watch=watch, network=network, rota=Rota(600_000, 3_600_000), _cut_off=True
    )
    await ValidatorProcess._rest(cast(Any, resting))
    (wait_ms,) = network.waits_ms
    assert limits.VALIDATOR_PAUSE_MS <= wait_ms <= limits.VALIDATOR_REFRESH_MS
