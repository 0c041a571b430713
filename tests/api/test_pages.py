"""Lists come in pages, in order, filtered, each row once; and a page costs what it shows."""

import time
from typing import Any

import attrs
import pytest
import trio

from p2pool.model import limits
from p2pool.model.errors import Conflict, NotFound
from p2pool.model.ids import AllocationId, NodeId, TaskId
from p2pool.model.ports.view import AllocationView, TaskView
from p2pool.model.states import AllocationState
from tests.api.conftest import Served
from tests.api.fakes import OTHER_NODE, SPEC, sample_view
from tests.wire.committee import lies
from tests.wire.samples import NODE_ID

thread = trio.to_thread.run_sync
STATES = ("running", "failed", "pending")


def _task(number: int) -> TaskView:
    task_id = TaskId(number.to_bytes(2, "big") * 8)
    spec = attrs.evolve(
        SPEC, name=f"t{number % 4}", labels=(("team", "ab"[number % 2]), ("n", str(number)))
    )
    on = (NODE_ID, OTHER_NODE)[number % 2]
    copies = tuple(
        AllocationView(AllocationId(task_id, copy), 1, AllocationState(4 + 3 * copy), on)
        for copy in range(2)
    )
    return TaskView(task_id, spec, sample_view().tasks[0].signer, STATES[number % 3], 7, copies,
                    index=number + 1)  # fmt: skip


def _fill(served: Served, count: int) -> list[str]:
    """So many tasks; their ids, the newest first."""
    tasks = tuple(_task(number) for number in range(count))
    served.port.seen = attrs.evolve(served.port.seen, tasks=tasks)
    return [one.task_id.hex() for one in reversed(tasks)]


def _walk(served: Served, path: str, rows: str, **query: Any) -> list[list[Any]]:
    """All pages."""
    pages, after = [], ""
    while True:
        answer = served.client.get(path, **{k: str(v) for k, v in query.items()}, after=after)
        pages.append(list(answer[rows]))
        if answer["next"] is None:
            return pages
        after = answer["next"]


async def test_pages_of_tasks_hold_each_once_and_in_order(served: Served) -> None:
    """The newest first, also where many came in one millisecond; the last page says so."""
    ids = _fill(served, 25)
    pages = await thread(lambda: _walk(served, "/v1/tasks", "tasks", limit=10))
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [one["task_id"] for page in pages for one in page] == ids
    pages = await thread(lambda: _walk(served, "/v1/tasks", "tasks", limit=25))
    assert [len(page) for page in pages] == [25]


async def test_a_place_outlives_its_row(served: Served) -> None:
    """A reader goes on behind a task that was dropped meanwhile, and new ones do not shift it."""
    ids = _fill(served, 10)
    first = await thread(lambda: served.client.get("/v1/tasks", limit="4"))
    tasks = [_task(number) for number in range(12) if number != 6]
    assert ids[3] == _task(6).task_id.hex()
    served.port.seen = attrs.evolve(served.port.seen, tasks=tuple(tasks))
    rest = await thread(lambda: served.client.get("/v1/tasks", after=first["next"]))
    assert [one["task_id"] for one in rest["tasks"]] == ids[4:]


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ("state=running", lambda n: n % 3 == 0),
        ("state=running&state=failed", lambda n: n % 3 < 2),
        ("label=team=a", lambda n: n % 2 == 0),
        ("label=team=a&label=n=4", lambda n: n == 4),
        ("name=t3", lambda n: n % 4 == 3),
        ("name=t", lambda n: False),
        (f"node=0x{OTHER_NODE.hex()}", lambda n: n % 2 == 1),
        (f"node={NODE_ID.hex()}&state=pending&name=t2", lambda n: n % 12 == 2),
        (f"node={'00' * 20}", lambda n: False),
    ],
)
async def test_filters_of_tasks(served: Served, query: str, fits: Any) -> None:
    """All that is given must fit; pages of what fits hold together."""
    _fill(served, 24)
    wanted = [_task(n).task_id.hex() for n in reversed(range(24)) if fits(n)]
    found: list[str] = []
    after = ""
    while True:
        path = f"/v1/tasks?{query}&limit=5&after={after}"
        answer = await thread(served.client.get, path)
        found += [one["task_id"] for one in answer["tasks"]]
        if (after := answer["next"]) is None:
            break
    assert found == wanted


async def test_pages_of_copies_can_end_within_a_task(served: Served) -> None:
    """And filters of copies look at the copy, not at its task."""
    _fill(served, 5)
    pages = await thread(lambda: _walk(served, "/v1/allocations", "allocations", limit=3))
    assert [len(page) for page in pages] == [3, 3, 3, 1]
    ids = [one["id"] for page in pages for one in page]
    tasks = [_task(n).task_id.hex() for n in reversed(range(5))]
    assert ids == [f"{task}.{copy}" for task in tasks for copy in (0, 1)]
    found = await thread(
        lambda: served.client.get("/v1/allocations", state="failed", node="0x" + OTHER_NODE.hex())
    )
    assert [one["task_id"] for one in found["allocations"]] == [tasks[1], tasks[3]]
    found = await thread(lambda: served.client.get("/v1/allocations", task=tasks[0]))
    assert [one["id"] for one in found["allocations"]] == ids[:2]


async def test_pages_of_nodes_volumes_and_proofs(served: Served) -> None:
    """Each list is bounded and goes on behind a place."""
    nodes = [one["node_id"] for one in await thread(served.client.nodes)]
    pages = await thread(lambda: _walk(served, "/v1/nodes", "nodes", limit=1))
    assert [[one["node_id"] for one in page] for page in pages] == [[one] for one in nodes]
    served.port.volumes.kept = {f"pool/{name}": [b"x"] for name in "cab"}
    pages = await thread(lambda: _walk(served, "/v1/volumes", "volumes", limit=2))
    assert [[one["id"] for one in page] for page in pages] == [["pool/a", "pool/b"], ["pool/c"]]
    served.port.seen = attrs.evolve(served.port.seen, evidence=tuple(lies().values()))
    whole = (await thread(served.client.get, "/v1/evidence"))["evidence"]
    pages = await thread(lambda: _walk(served, "/v1/evidence", "evidence", limit=2))
    assert [one for page in pages for one in page] == whole
    assert [len(page) for page in pages] == [2, 2, 2]


async def test_a_place_among_nodes_and_proofs_outlives_its_row(served: Served) -> None:
    """Nodes go on behind it; of proofs its term comes again, rather than that one is missed."""
    nodes = sorted(served.port.seen.nodes, key=lambda one: one.node_id)
    first, last = ("0x" + one.node_id.hex() for one in nodes)
    served.port.seen = attrs.evolve(served.port.seen, nodes=nodes[1:])
    rest = await thread(lambda: served.client.get("/v1/nodes", after=first))
    assert [one["node_id"] for one in rest["nodes"]] == [last]
    rest = await thread(lambda: served.client.get("/v1/nodes", after="0x" + "ff" * 20))
    assert rest["nodes"] == []
    proofs = tuple(lies().values())
    served.port.seen = attrs.evolve(served.port.seen, evidence=proofs)
    whole = (await thread(served.client.get, "/v1/evidence"))["evidence"]
    terms = [one["term"] for one in whole]
    gone = f"{terms[-1]:020d}-{'00' * 32}"
    rest = await thread(lambda: served.client.get("/v1/evidence", after=gone))
    assert rest["evidence"] == [one for one in whole if one["term"] == terms[-1]]


async def test_the_client_reads_all_pages(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """`AgentClient.tasks` and `nodes` give whole lists, however small the pages."""
    ids = _fill(served, 7)
    monkeypatch.setattr(limits, "API_PAGE_MAX", 3)
    assert [one["task_id"] for one in await thread(served.client.tasks)] == ids
    assert len(await thread(served.client.nodes)) == 2


async def test_one_task_is_found_by_id_name_or_beginning(served: Served) -> None:
    """Of several of a name the living one, or else the newest; several that live are a conflict."""
    _fill(served, 6)
    get = served.client.task
    assert (await thread(get, _task(5).task_id.hex()))["task_id"] == _task(5).task_id.hex()
    assert (await thread(get, "0x" + _task(5).task_id.hex()))["name"] == "t1"
    assert (await thread(get, _task(3).task_id.hex()[:4].upper()))["task_id"].startswith("0003")
    # Numbers 1 and 5 are called t1: 5 is pending, 1 has failed.
    assert (await thread(get, "t1"))["task_id"] == _task(5).task_id.hex()
    both = tuple(attrs.evolve(_task(n), state="running") for n in (0, 4))
    served.port.seen = attrs.evolve(served.port.seen, tasks=both)
    with pytest.raises(Conflict, match="2 match task 't0'"):
        await thread(get, "t0")
    for text in ("t9", "000", "0009", "0x", "%2f", "a/b"):
        with pytest.raises(NotFound):
            await thread(get, text)


async def test_one_node_is_found_by_the_beginning_of_its_id(served: Served) -> None:
    """Where several begin so, nobody guesses."""
    one = await thread(served.client.node, OTHER_NODE.hex()[:5].upper())
    assert one["node"]["node_id"] == "0x" + OTHER_NODE.hex()
    known = served.port.seen.nodes
    twin = attrs.evolve(known[0], node_id=NodeId(OTHER_NODE[:19] + b"\0"))
    served.port.seen = attrs.evolve(served.port.seen, nodes=(*known, twin))
    with pytest.raises(Conflict, match="2 match node"):
        await thread(served.client.node, "0x" + OTHER_NODE.hex()[:6])


async def test_a_filter_that_nothing_fits_looks_at_a_bounded_number(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is empty and says where to go on."""
    ids = _fill(served, 30)
    monkeypatch.setattr(limits, "API_PAGE_LOOKS_MAX", 10)
    pages = await thread(lambda: _walk(served, "/v1/tasks", "tasks", label="n=3"))
    assert [[one["task_id"] for one in page] for page in pages] == [[], [], [ids[26]]]
    began = time.monotonic()
    assert await thread(lambda: served.client.get("/v1/tasks", label="n=none", after=""))
    assert time.monotonic() - began < 10
