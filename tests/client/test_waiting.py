"""What `--wait` says: the id first, the reason last, and the exit code of the container."""

import json
from typing import Any

import attrs
import pytest

from p2pool.cli.node.group import node
from p2pool.cli.task.endings import ending_text, exit_code_of
from p2pool.cli.task.group import task
from p2pool.cli.task.reasons import reasons_text
from p2pool.model.errors import Unavailable
from p2pool.model.states import AllocationState, Intent
from tests.api.fakes import OTHER_NODE, TASK_ID
from tests.cli.output.held import held
from tests.client.conftest import Commands, Served

ID = TASK_ID.hex()
RUN = ("run", "--image", "a", "--wait", "--timeout", "1s")


def ends(served: Served, now: str, **copy: Any) -> None:
    """The task has come to a state, and its copy with it."""
    view = served.port.seen
    old = view.tasks[0]
    copies = (attrs.evolve(old.allocations[0], **copy),)
    served.port.seen = attrs.evolve(view, tasks=(attrs.evolve(old, state=now, allocations=copies),))


@pytest.mark.parametrize(
    ("copy", "code", "said"),
    [
        ({"exit_code": 3, "reason": ""}, 3, "train has failed: exit code 3."),
        ({"exit_code": 3, "reason": "it ended with exit code 3"}, 3, "it ended with exit code 3."),
        ({"exit_code": 0, "reason": "its deadline passed"}, 1, "its deadline passed; exit code 0"),
        ({"exit_code": None, "reason": "the image is not there"}, 1, "the image is not there."),
        (
            {"exit_code": None, "reason": "It has no mounts."},
            1,
            "train has failed: It has no mount",
        ),
        ({"exit_code": 137, "oom_killed": True, "reason": ""}, 137, "used more memory"),
        ({"exit_code": 70_000, "reason": "\x1b[2J"}, 1, "\\x1b[2J; exit code 70000"),
    ],
)
async def test_the_id_comes_first_and_the_reason_last(
    served: Served, commands: Commands, copy: dict[str, Any], code: int, said: str
) -> None:
    """And with one copy the command ends with its exit code, where it has one."""
    ends(served, "failed", state=AllocationState.FAILED, **copy)
    result = await commands(task, *RUN)
    assert (result.exit_code, result.stdout) == (code, f"{ID}\n")
    assert said in result.stderr.splitlines()[-1]
    assert not result.stderr.rstrip().endswith("..")
    result = await commands(task, *RUN, "--json")
    assert result.exit_code == code
    assert held(result.stdout)["task"]["state"] == "failed"


async def test_what_dies_at_once_does_not_count_as_running(
    served: Served, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy is looked at again a moment after it was seen to run."""
    ends(served, "running", state=AllocationState.RUNNING)

    def die(_: float) -> None:
        ends(served, "failed", state=AllocationState.FAILED, exit_code=9, reason="")

    monkeypatch.setattr("p2pool.cli.task.group.time.sleep", die)
    result = await commands(task, *RUN)
    assert (result.exit_code, "exit code 9" in result.stderr) == (9, True)


async def test_an_interrupted_wait_has_told_the_id(
    served: Served, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard output, for people and for programs."""

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    ends(served, "pending", state=AllocationState.PENDING)
    monkeypatch.setattr("p2pool.cli.task.group.time.sleep", interrupt)
    long = (*RUN[:-1], "1h")
    assert (await commands(task, *long)).stdout == f"{ID}\n"
    told = held((await commands(task, *long, "--json")).stdout)
    assert (told["task_id"], told["task"]) == (ID, None)


async def test_a_wait_that_ends_early_says_what_it_waited_for(
    served: Served, commands: Commands
) -> None:
    """The last reason that was known; the task goes on."""
    ends(served, "pending", state=AllocationState.PENDING, reason="no node has 9 GPUs")
    result = await commands(task, *RUN)
    assert isinstance(result.exception, Unavailable)
    assert "(no node has 9 GPUs)" in result.exception.message
    assert result.stdout == f"{ID}\n"


async def test_a_document_has_one_shape_with_and_without_waiting(
    served: Served, commands: Commands
) -> None:
    """Of each verb that can wait; what was not waited for is null."""
    view = served.port.seen
    nodes = tuple(
        attrs.evolve(n, intent=Intent.DRAINED) if n.node_id == OTHER_NODE else n for n in view.nodes
    )
    served.port.seen = attrs.evolve(view, nodes=nodes)
    known = "0x" + view.nodes[0].node_id.hex()
    ended = (*RUN, "--json"), ("run", "--image", "a", "--json")
    for command, waits, goes in (
        (task, *ended),
        (task, ("stop", "train", "--wait", "--json"), ("stop", "train", "--json")),
        (node, ("drain", "0x" + OTHER_NODE.hex(), "--json"), ("drain", known, "--json")),
    ):
        if command is task and waits[0] == "stop":
            ends(served, "stopped", state=AllocationState.STOPPED)
        waited, gone = [json.loads((await commands(command, *w)).stdout) for w in (waits, goes)]
        assert waited.keys() == gone.keys()
        assert waited["kind"] == gone["kind"] == "request"
        assert waited["data"].keys() == gone["data"].keys(), waits
        assert (
            waited["data"]["action"] == gone["data"]["action"] == goes[0].replace("run", "submit")
        )


def told(state: str, *reasons: str, **more: Any) -> dict[str, Any]:
    """A task with a copy for each reason."""
    copy = {"state": state, "pull_total_bytes": 0, "oom_killed": False, "exit_code": None}
    copies = [copy | {"reason": reason, "exit_code": 7} for reason in reasons]
    return {"name": "web", "state": state, "allocations": copies, "spec": {}} | more


def test_reasons_are_told_once_and_a_few_of_them() -> None:
    """The most frequent first; several copies have no one exit code."""
    many = told("failed", *("x" for _ in range(3)), *(f"r{n}" for n in range(9)))
    assert reasons_text(many).startswith("x; exit code 7 (3 copies); r0; exit code 7;")
    assert reasons_text(many).endswith("and 5 more reasons")
    assert exit_code_of(many) == 1
    assert exit_code_of(told("failed", "x", spec={"system": True})) == 1
    assert exit_code_of(told("failed", "x")) == 7
    assert ending_text(told("stopped", "stop by 0x1")).startswith("web was stopped: stop by 0x1")


async def test_what_an_agent_calls_a_task_does_not_reach_the_terminal(
    served: Served, commands: Commands
) -> None:
    """Not even in the one sentence about it."""
    view = served.port.seen
    named = attrs.evolve(view.tasks[0].spec, name="a\x1b[2J\u202eb")
    served.port.seen = attrs.evolve(view, tasks=(attrs.evolve(view.tasks[0], spec=named),))
    for words in (("stop", ID), ("show", ID), ("ls",), RUN):
        result = await commands(task, *words)
        assert result.exit_code == 0, result
        said = result.stdout + result.stderr
        assert "\x1b" not in said
        assert "\u202e" not in said
