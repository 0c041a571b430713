"""What tasks write to their sockets is kept, bounded, each for itself, over real unix sockets."""

import os
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pool.agent.telemetry.task_metrics import SOCKET_NAME, Copy, TaskMetrics
from p2pool.model import limits
from p2pool.model.ids import AllocationId, TaskId

ONE, TWO = AllocationId(TaskId(b"1" * 16), 0), AllocationId(TaskId(b"1" * 16), 1)


@pytest.fixture
async def metrics(tmp_path: Path, nursery: trio.Nursery) -> TaskMetrics:
    """Sockets in a directory whose path is longer than a socket's address may be."""
    made = TaskMetrics(tmp_path / ("d" * 100))
    nursery.start_soon(made.run)
    await trio.testing.wait_all_tasks_blocked()
    return made


async def connect(directory: str) -> trio.SocketStream:
    """As a task does, whose path to the socket is short."""
    opened = os.open(directory, os.O_PATH)
    try:
        with trio.fail_after(10):
            while True:
                try:
                    made = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
                    await made.connect(f"/proc/self/fd/{opened}/{SOCKET_NAME}")
                except (FileNotFoundError, ConnectionRefusedError):
                    await trio.lowlevel.checkpoint()
                else:
                    return trio.SocketStream(made)
    finally:
        os.close(opened)


async def _write_for_ever(stream: trio.SocketStream) -> None:
    while True:
        await stream.send_all(b"x" * 65_536)


async def said(metrics: TaskMetrics, allocation: AllocationId, count: int) -> dict[str, float]:
    """The values of a copy, once there are so many."""
    with trio.fail_after(10):
        while len(metrics.told(allocation, 1).metrics) < count:
            await trio.lowlevel.checkpoint()
    return {one.name: float(one.value) for one in metrics.told(allocation, 1).metrics}


async def test_the_last_value_of_each_name_is_kept(metrics: TaskMetrics) -> None:
    """In pieces, in several lines at once, with and without a newline at the end."""
    directory = metrics.open(ONE, 1)
    async with await connect(directory) as stream:
        await stream.send_all(b'{"loss": 1}\n{"lo')
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(b'ss": 0.5}\n\n{"step": 7}')
    assert await said(metrics, ONE, 2) == {"loss": 0.5, "step": 7.0}
    assert [(name, value) for _, name, value in metrics.all()] == [("loss", 0.5), ("step", 7.0)]


async def test_copies_do_not_hear_each_other(metrics: TaskMetrics) -> None:
    """Each has a socket in a directory of its own."""
    first, second = metrics.open(ONE, 1), metrics.open(TWO, 1)
    assert first != second
    async with await connect(first) as stream:
        await stream.send_all(b'{"loss": 1}\n')
    await said(metrics, ONE, 1)
    assert metrics.told(TWO, 1).metrics == ()


async def test_what_is_over_a_bound_is_counted_and_dropped(metrics: TaskMetrics) -> None:
    """Garbage, an endless line, too many names: the next good line is taken all the same."""
    directory = metrics.open(ONE, 1)
    async with await connect(directory) as stream:
        await stream.send_all(b"garbage\n" + b'{"loss": 1}\n')
    async with await connect(directory) as stream:
        with pytest.raises(trio.BrokenResourceError):
            await _write_for_ever(stream)
    await said(metrics, ONE, 1)
    many = limits.METRICS_PER_TASK_MAX
    async with await connect(directory) as stream:
        for number in range(many + 3):
            await stream.send_all(b'{"m%d": 1}\n' % number)
    values = await said(metrics, ONE, many)
    assert len(values) == many
    with trio.fail_after(10):
        while metrics.told(ONE, 1).refused_lines < 2 + 4:
            await trio.lowlevel.checkpoint()
    assert metrics.counters["lines_too_many_names"] == 4
    assert metrics.counters["lines_malformed"] == 2


def test_a_task_that_writes_too_fast_is_held_to_its_rate() -> None:
    """By the clock that it is given."""
    copy, most = Copy(Path("/nowhere")), limits.METRIC_LINES_PER_S
    taken = [copy.take(b'{"n": 1}', 100.0, 0) for _ in range(most + 5)]
    assert taken == [None] * most + ["too fast"] * 5
    assert copy.take(b'{"n": 2}', 100.5, 0) is None
    assert copy.refused_lines == 5


async def test_connections_are_bounded(metrics: TaskMetrics) -> None:
    """One more than there may be is closed; when others go there is room again."""
    directory = metrics.open(ONE, 1)
    streams = [await connect(directory) for _ in range(limits.METRIC_CONNECTIONS_MAX)]
    await trio.testing.wait_all_tasks_blocked()
    over = await connect(directory)
    with trio.fail_after(10):
        assert await over.receive_some(1) == b""
    for stream in streams:
        await stream.aclose()
    await trio.testing.wait_all_tasks_blocked(0.05)
    async with await connect(directory) as again:
        await again.send_all(b'{"n": 1}\n')
    await said(metrics, ONE, 1)


async def test_after_a_restart_the_socket_is_there_again(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    """For containers that still run; what has no container any more is gone."""
    async with trio.open_nursery() as first_life:
        first = TaskMetrics(tmp_path)
        first_life.start_soon(first.run)
        await trio.testing.wait_all_tasks_blocked()
        directory = first.open(ONE, 1)
        (await connect(directory)).socket.close()
        first_life.cancel_scope.cancel()
    again = TaskMetrics(tmp_path)
    nursery.start_soon(again.run)
    await trio.testing.wait_all_tasks_blocked()
    again.keep([(ONE, 1)], [(ONE, 1), (TWO, 1)])
    async with await connect(directory) as stream:
        await stream.send_all(b'{"n": 1}\n')
    await said(again, ONE, 1)
    again.keep([], [(TWO, 1)])
    assert not Path(directory).exists()
    assert again.told(ONE, 1).metrics == ()
