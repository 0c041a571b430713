"""`p2pool node ...` and `p2pool pool set`: what is shown of a node, and what is asked of it."""

import json

import attrs
import pytest

from p2pool.cli.node.group import node
from p2pool.cli.pool.group import pool
from p2pool.cli.shared import tables
from p2pool.cli.shared.output import short
from p2pool.cli.shared.tables import Look
from p2pool.model.access.requests import Action
from p2pool.model.errors import NotFound, Unavailable
from p2pool.model.features import BASE_LEVEL, FeatureLevel
from p2pool.model.ids import NodeId
from p2pool.model.ports.agent import SubmitCommand
from p2pool.model.ports.view import LaggingView
from p2pool.model.states import Intent, Membership, Reachability
from tests.api.fakes import OTHER_NODE
from tests.cli.output.held import held
from tests.client.conftest import Commands, Served
from tests.wire.samples import NODE_ID

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
    answer = held(result.stdout)
    assert (answer["node_id"], answer["changed"]) == (OTHER, True)


async def test_what_is_so_already_is_not_signed(served: Served, commands: Commands) -> None:
    """A drain of what is drained, an unban of what is not banned: said, and done."""
    evolve(served, OTHER_NODE, intent=Intent.DRAINED)
    for words in (("drain", OTHER), ("drain", OTHER, "--dry-run")):
        result = await commands(node, *words, signs=False)
        assert result.exit_code == 0, result
        assert "drained" in result.stdout
    told = held((await commands(node, "drain", OTHER, "--json", signs=False)).stdout)
    assert (told["action"], told["node_id"], told["changed"]) == ("drain", OTHER, False)
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
    evolve(served, OTHER_NODE, allocations=1)
    result = await commands(node, "drain", OTHER, "--wait", "--timeout", "1s")
    assert ": 1 copy left.\n" in result.stderr
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
    assert len(held((await commands(node, "ls", "--json")).stdout)) == 1
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


async def test_versions_are_shown_and_who_keeps_the_pool_back(
    served: Served, commands: Commands
) -> None:
    """Per node what it runs and what that knows; of the pool its level, and who is to be upgraded,
    by name and version; nothing of that where all know the same."""
    assert "feature level  1\n" in (await commands(pool, "show")).stdout
    evolve(served, NODE_ID, agent_version="0.3.0", feature_level=FeatureLevel(2))
    evolve(served, OTHER_NODE, agent_version="0.2.0", feature_level=BASE_LEVEL)
    listed = (await commands(node, "ls")).stdout.splitlines()
    assert "VERSION" in listed[0]
    assert ("0.3.0" in listed[1], "0.2.0" in listed[2]) == (True, True)
    told = held((await commands(node, "ls", "--json")).stdout)
    assert [one["feature_level"] for one in told] == [2, 1]
    shown = (await commands(node, "show", OTHER)).stdout
    assert "0.2.0, knows feature levels up to 1" in shown
    silent = LaggingView(NODE_ID, "0.2.0", None)
    lagging = (LaggingView(OTHER_NODE, "0.2.0", BASE_LEVEL), silent)
    served.port.seen = attrs.evolve(served.port.seen, lagging=lagging)
    text = (await commands(pool, "show")).stdout
    assert "1; 2 when these are upgraded: " in text
    assert f"{OTHER[:10]}" in text
    assert "runs 0.2.0), " in text
    assert "not heard of late" in text
    answer = held((await commands(pool, "show", "--json")).stdout)
    assert answer["lagging"][0] == {
        "node_id": OTHER, "agent_version": "0.2.0", "feature_level": 1,
    }  # fmt: skip


async def test_what_is_free_is_shown(served: Served, commands: Commands) -> None:
    """For want of a processor tasks wait more often than for memory; of a node that is not heard
    nobody knows what is free."""
    listed = (await commands(node, "ls")).stdout
    assert "CPUS FREE" in listed
    assert "4/8" in listed
    shown = (await commands(node, "show", "0x" + NODE_ID.hex())).stdout
    for said in ("8 CPUs, 4 free", "8 GiB, 4 GiB free", "64 GiB, 32 GiB free"):
        assert said in shown
    evolve(served, NODE_ID, reachability=Reachability.UNREACHABLE)
    assert "4/8" not in (await commands(node, "ls")).stdout
    assert "4 free" not in (await commands(node, "show", "0x" + NODE_ID.hex())).stdout


async def test_the_list_of_nodes_fits_a_terminal(
    served: Served, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eighty columns and forty: no word and no id is split, and what is left out is said."""
    evolve(served, NODE_ID, agent_version="0.12.34", feature_level=BASE_LEVEL)
    evolve(served, OTHER_NODE, reason="it was not heard since Tuesday, say three of five witnesses")
    for width in (80, 40):
        monkeypatch.setattr(tables, "look_of", lambda _, width=width: Look(width))
        done = await commands(node, "ls")
        assert max(len(line) for line in done.stdout.splitlines()) <= width
        for word in (short(OTHER), "eligible", *(["witnesses"] if width == 80 else [])):
            assert word in done.stdout
        assert "left out for want of room: " in done.stderr
        assert "VERSION" in done.stderr
    monkeypatch.undo()
    whole = (await commands(node, "ls")).stdout.splitlines()
    assert "0.12.34" in whole[1]
    assert whole[2].endswith("say three of five witnesses")
