"""`p2pool node ...` and `p2pool pool set`: what is shown of a node, and what is asked of it."""

import json

import attrs
import pytest

from p2pool.cli.node.group import node
from p2pool.cli.pool.group import pool
from p2pool.model.access.requests import Action
from p2pool.model.errors import NotFound, Unavailable
from p2pool.model.ids import NodeId
from p2pool.model.ports.agent import SubmitCommand
from p2pool.model.states import Intent, Membership, Reachability
from tests.api.fakes import OTHER_NODE
from tests.client.conftest import Commands, Served

OTHER = f"0x{OTHER_NODE.hex()}"


def evolve(served: Served, node_id: NodeId, **fields: object) -> None:
    """Change what the agent knows of a node."""
    view = served.port.seen
    nodes = tuple(
        attrs.evolve(n, **fields) if n.node_id == node_id else n  # type: ignore[arg-type]
        for n in view.nodes
    )
    served.port.seen = attrs.evolve(view, nodes=nodes)


@pytest.mark.parametrize("action", [Action.DRAIN, Action.BAN])
async def test_an_intent_is_signed_for_the_node_that_is_meant(
    served: Served, commands: Commands, action: Action
) -> None:
    """By the beginning of its id; the action is the command's name."""
    result = await commands(node, action.value, OTHER[:10], "--json")
    assert result.exit_code == 0, result
    (asked,) = served.port.asked
    assert isinstance(asked, SubmitCommand)
    request = asked.signed.request
    assert (request.action, request.target, request.spec_json) == (action, OTHER_NODE.hex(), "")
    answer = json.loads(result.stdout)
    assert (answer["node_id"], answer["changed"]) == (OTHER, True)


async def test_what_is_so_already_is_not_signed(served: Served, commands: Commands) -> None:
    """A drain of what is drained, an unban of what is not banned: said, and done."""
    evolve(served, OTHER_NODE, intent=Intent.DRAINED)
    for words in (("drain", OTHER), ("drain", OTHER, "--json"), ("drain", OTHER, "--dry-run")):
        result = await commands(node, *words, signs=False)
        assert result.exit_code == 0, result
        assert "drained" in result.stdout
    evolve(served, OTHER_NODE, intent=Intent.ELIGIBLE)
    for name in ("resume", "unban"):
        assert "already" in (await commands(node, name, OTHER, signs=False)).stdout
    assert served.port.asked == []


async def test_a_dry_run_shows_what_would_be_signed(served: Served, commands: Commands) -> None:
    """And signs nothing, so that it needs no key."""
    evolve(served, OTHER_NODE, intent=Intent.BANNED)
    result = await commands(node, "unban", OTHER, "--dry-run", signs=False)
    typed = json.loads(result.stdout)
    assert typed["message"]["action"] == "unban"
    assert typed["message"]["target"] == OTHER_NODE.hex()
    assert served.port.asked == []


async def test_a_drain_can_be_waited_for(served: Served, commands: Commands) -> None:
    """Until nothing is left there; a drain that takes longer goes on."""
    result = await commands(node, "drain", OTHER, "--wait", "--timeout", "1s")
    assert isinstance(result.exception, Unavailable)
    assert "goes on" in result.exception.message
    evolve(served, OTHER_NODE, intent=Intent.DRAINED)
    result = await commands(node, "drain", OTHER, "--wait", "--timeout", "1s")
    assert "is drained" in result.stdout


async def test_a_node_that_nobody_knows_is_named(served: Served, commands: Commands) -> None:
    """With where to look."""
    result = await commands(node, "ban", "0x" + "77" * 20)
    assert isinstance(result.exception, NotFound)
    assert "node ls" in result.exception.hint


async def test_the_three_fields_and_the_reason_are_shown(
    served: Served, commands: Commands
) -> None:
    """In the list and alone; those outside the pool only when they are asked for."""
    evolve(
        served,
        OTHER_NODE,
        membership=Membership.STALLED,
        reachability=Reachability.UNREACHABLE,
        intent=Intent.BANNED,
        reason="no heartbeat came",
    )
    for words in (("ls",), ("show", OTHER)):
        out = (await commands(node, *words)).stdout
        for word in ("stalled", "unreachable", "banned", "no heartbeat came"):
            assert word in out, (words, out)
    evolve(served, OTHER_NODE, membership=Membership.LEFT)
    assert "left" not in (await commands(node, "ls")).stdout
    assert len(json.loads((await commands(node, "ls", "--json")).stdout)) == 1
    assert "left" in (await commands(node, "ls", "--all")).stdout


async def test_a_setting_is_signed(served: Served, commands: Commands) -> None:
    """Name and value as they are; the agent says which there are."""
    result = await commands(pool, "set", "committee", "5", "--json")
    assert result.exit_code == 0, result
    (asked,) = served.port.asked
    assert isinstance(asked, SubmitCommand)
    request = asked.signed.request
    assert (request.action, request.target) == (Action.SET, "committee")
    assert json.loads(request.spec_json) == {"value": "5"}
    dry = await commands(pool, "set", "committee", "5", "--dry-run", signs=False)
    assert json.loads(dry.stdout)["message"]["target"] == "committee"
