"""What answers is no Docker Engine, or a proxy changed what one said."""

from pathlib import Path
from typing import Any

import pytest

from p2pool.drivers.containers.docker.container.labels import scope_labels
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.model.errors import RuntimeUnavailable
from p2pool.model.ids import AllocationId, TaskId
from tests.containers.harness.plans import SCOPE

LABELS = scope_labels(SCOPE) | {
    "p2pool.task": "01" * 16,
    "p2pool.replica": "0",
    "p2pool.attempt": "1",
    "p2pool.token": "1.2.3",
    "p2pool.spec": "02" * 32,
}
COPY = AllocationId(TaskId(b"\x01" * 16), 0)


class Foreign:
    """An engine's client that gives the same answer to every question."""

    def __init__(self, rows: Any, record: Any, volumes: Any = None) -> None:
        self._rows, self._record = rows, record
        self._volumes = {"Volumes": []} if volumes is None else volumes

    def containers(self, **_: Any) -> Any:
        return self._rows

    def networks(self, **_: Any) -> Any:
        return self._rows

    def volumes(self, **_: Any) -> Any:
        return self._volumes

    def inspect_container(self, name: str) -> Any:
        return self._record

    def close(self) -> None:
        """Nothing is open."""


def runtime_over(client: Foreign, directory: Path) -> DockerRuntime:
    """A runtime whose engine is that client."""
    made = DockerRuntime(SCOPE, directory, base_url="unix:///nowhere")
    made._engine._made = client
    return made


@pytest.mark.parametrize(
    "rows",
    [None, {}, "text", [1], ["text"], [{}], [{"Id": 7}], [{"Id": None, "Labels": LABELS}]],
    ids=repr,
)
async def test_a_listing_that_is_none_is_no_engine(rows: Any, tmp_path: Path) -> None:
    """It is asked again later; any other error would end the agent, or its view of its copies."""
    with pytest.raises(RuntimeUnavailable):
        await runtime_over(Foreign(rows, {}), tmp_path).list()


@pytest.mark.parametrize(
    "volumes",
    [
        "text",
        [],
        {"Volumes": "text"},
        {"Volumes": [7]},
        {"Volumes": [{}]},
        {"Volumes": [{"Name": 7}]},
    ],
    ids=repr,
)
async def test_volumes_that_are_none_are_left_alone(volumes: Any, tmp_path: Path) -> None:
    """Those that held secrets are looked for in each listing; it goes on, and removes nothing."""
    assert list(await runtime_over(Foreign([], {}, volumes), tmp_path).list()) == []


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        {},
        {"Id": "a"},
        {"Id": "a", "Config": None, "State": None},
        {"Id": "a", "Config": {"Labels": LABELS}, "State": "running"},
        {"Config": {"Labels": LABELS}, "State": {"Status": "running"}},
    ],
    ids=repr,
)
async def test_a_record_that_is_none_is_no_engine(record: Any, tmp_path: Path) -> None:
    """The same for one container, in whatever a copy needs of it."""
    runtime = runtime_over(Foreign([{"Id": "a", "Labels": LABELS}], record), tmp_path)
    with pytest.raises(RuntimeUnavailable):
        await runtime.list()
    with pytest.raises(RuntimeUnavailable):
        await runtime.stop(COPY, 1, 10)
