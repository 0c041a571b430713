"""`p2pool task show` names the nodes that refused a task, and what was cut of reasons, in full."""

import attrs
import pytest

from p2pool.cli.task.group import task
from p2pool.codec.text.clip import ELLIPSIS
from p2pool.model.errors import Unavailable
from p2pool.model.ports.view import RefusalView
from p2pool.model.states import AllocationState
from tests.api.fakes import OTHER_NODE, TASK_ID
from tests.cli.output.held import held
from tests.client.conftest import Commands, Served

ID = TASK_ID.hex()
FULL = ("because " * 50).strip()


@pytest.fixture
def cut(served: Served) -> Served:
    """A task whose copy waits, since a node refused it for a reason that was cut."""
    view = served.port.seen
    (one,) = view.tasks
    copy = attrs.evolve(
        one.allocations[0],
        state=AllocationState.PENDING,
        node_id=None,
        gpus=(),
        reason=f"a node refused it: because{ELLIPSIS}",
    )
    refusal = RefusalView(OTHER_NODE, f"because{ELLIPSIS}", 2, True, 1_800_000_000_000)
    changed = attrs.evolve(one, allocations=(copy,), refusals=(refusal,))
    served.port.seen = attrs.evolve(view, tasks=(changed,))
    return served


async def test_who_refused_it_is_shown_with_the_whole_reason(
    cut: Served, commands: Commands
) -> None:
    """On a terminal as in JSON."""
    out = (await commands(task, "show", ID)).stdout
    for words in ("REFUSED BY", OTHER_NODE.hex()[:8], "in full", FULL):
        assert words in out, out
    told = held((await commands(task, "show", ID, "--json")).stdout)
    assert told["refusals"][0]["times"] == 2
    assert told["full_reasons"][0]["reasons"][0]["reason"].strip() == FULL


async def test_what_a_node_cannot_be_asked_is_said(cut: Served, commands: Commands) -> None:
    """The rest is shown all the same."""
    cut.port.failures.append(Unavailable("The node is away."))
    out = (await commands(task, "show", ID)).stdout
    assert "The node is away." in out
    assert "REFUSED BY" in out


async def test_a_reason_that_is_whole_asks_nobody(served: Served, commands: Commands) -> None:
    """Showing a task costs one question to the agent."""
    served.port.failures.append(Unavailable("The node is away."))
    told = held((await commands(task, "show", ID, "--json")).stdout)
    assert told["full_reasons"] == []
