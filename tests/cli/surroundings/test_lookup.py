"""What a person types names one task: its id, its name, the beginning of its id, in that order."""

from typing import Any, cast

import attrs
import pytest

from p2pool.api.resources.tasks import task_in
from p2pool.cli.shared.lookup import find_copy, find_task
from p2pool.client.agent_client import AgentClient
from p2pool.model.errors import Conflict, NotFound
from p2pool.model.ids import Address, TaskId
from p2pool.model.ports.view import TaskTable, TaskView
from p2pool.model.tasks.spec import TaskSpec
from tests.api.fakes import sample_view

OLD, NEW, OTHER = "ab" * 16, "cd" * 16, "ef" * 16


class Served:
    """A client of an agent that has these tasks, the newest first."""

    def __init__(self, *tasks: tuple[str, str, str]) -> None:
        newest = list(enumerate(reversed(tasks), 1))
        self._view = attrs.evolve(
            sample_view(),
            tasks=TaskTable(
                TaskView(
                    task_id=TaskId(bytes.fromhex(task_id)),
                    spec=TaskSpec(name, "busybox"),
                    signer=Address(bytes(20)),
                    state=state,
                    submitted_at_ms=index,
                    allocations=(),
                    index=index,
                )
                for index, (task_id, name, state) in newest
            ),
        )

    def task(self, text: str) -> dict[str, Any]:
        """As the agent finds it."""
        return {"task_id": task_in(self._view, text).task_id.hex()}


def copy_of(text: str, *tasks: tuple[str, str, str]) -> tuple[str, int | None]:
    one, replica = find_copy(cast(AgentClient, Served(*tasks)), text)
    return one["task_id"], replica


def task_of(text: str, *tasks: tuple[str, str, str]) -> str:
    return str(find_task(cast(AgentClient, Served(*tasks)), text)["task_id"])


@pytest.mark.parametrize("state", ["running", "failed"])
def test_the_exact_name_goes_before_a_copy_of_another_task(state: str) -> None:
    """`llama-3.1` is a task of that name, though `llama-3` has a copy 1, and though it ended."""
    both = ((NEW, "llama-3", "running"), (OLD, "llama-3.1", state))
    assert copy_of("llama-3.1", *both) == (OLD, None)
    assert copy_of("llama-3.1.1", *both) == (OLD, 1)
    assert copy_of("llama-3.0", *both) == (NEW, 0)
    assert copy_of("cdcdcd.7", *both) == (NEW, 7)


def test_a_name_goes_before_the_beginning_of_an_id_and_after_a_whole_one() -> None:
    """So nobody takes over a task by naming another one after its id."""
    named = ((NEW, "abab", "running"), (OTHER, OLD, "running"), (OLD, "web", "running"))
    assert task_of("abab", *named) == NEW
    assert task_of(OLD, *named) == OLD
    assert task_of("0x" + OLD.upper(), *named) == OLD
    assert copy_of(f"{OLD}.3", *named) == (OLD, 3)


def test_of_one_name_the_living_task_is_meant() -> None:
    """Two that live, from before names were kept apart, are told with their ids."""
    assert task_of("a", (NEW, "a", "failed"), (OLD, "a", "running")) == OLD
    assert task_of("a", (NEW, "a", "failed"), (OLD, "a", "stopped")) == NEW
    with pytest.raises(Conflict, match=OLD):
        task_of("a", (NEW, "a", "pending"), (OLD, "a", "running"))


@pytest.mark.parametrize(
    "text", ["b", "b.1", "aba", "web." + "9" * 5000, ".1", "web.", "web.\u0661"]
)
def test_what_names_nothing_is_said_whole(text: str) -> None:
    """Absurd numbers included."""
    with pytest.raises(NotFound):
        copy_of(text, (OLD, "web", "running"))
