"""Lines as a shim writes them and a reader finds them: rotation, tails, cuts, and following."""

import errno
import os
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2pool.drivers.containers.line_files import LineFiles
from p2pool.drivers.containers.process.line_reader import LineReader
from p2pool.drivers.containers.process.runtime import ProcessRuntime
from tests.containers.harness.plans import plan
from tests.containers.harness.processes import ALLOCATION, lines, wait_ended

LINE_MAX = 16


def files(directory: Path, file_max: int = 10_000) -> LineFiles:
    """A writer with small bounds and three files."""
    return LineFiles(directory, file_max, 3, LINE_MAX)


def read_all(reader: LineReader, since_ms: int = 0) -> list[tuple[int, bytes]]:
    """All that is there now, as (stream, data)."""
    got: list[tuple[int, bytes]] = []
    while (chunks := reader.read(since_ms)) is not None:
        got += [(chunk.stream, chunk.data) for chunk in chunks]
    return got


@given(st.lists(st.tuples(st.sampled_from((1, 2)), st.binary(max_size=60)), max_size=30))
def test_bytes_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[int, bytes]]
) -> None:
    """Whatever the bytes and however they are cut, each stream's come back in order, whole."""
    directory = tmp_path_factory.mktemp("lines")
    writer, reader = files(directory), LineReader(directory)
    got: list[tuple[int, bytes]] = []
    for stream, data in said:
        writer.take(stream, data)
        got += read_all(reader)
    for stream in (1, 2):
        writer.finish(stream)
    got += read_all(reader)
    for stream in (1, 2):
        wanted = b"".join(data for each, data in said if each == stream)
        assert b"".join(data for each, data in got if each == stream) == wanted
    assert all(len(data.rstrip(b"\n")) <= LINE_MAX for _, data in got)
    reader.close()
    os.close(writer.file)


def test_old_files_go_and_a_slow_reader_goes_on(tmp_path: Path) -> None:
    """No more than three files are kept; who reads slowly skips, and never reads half a line."""
    writer, slow = files(tmp_path, 100), LineReader(tmp_path)
    writer.take(1, b"0\n")
    assert read_all(slow) == [(1, b"0\n")]
    for number in range(1, 100):
        writer.take(1, b"%d\n" % number)
    assert len(list(tmp_path.iterdir())) == 3
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    got = [int(data) for _, data in read_all(slow)]
    kept = [int(data) for _, data in read_all(LineReader(tmp_path))]
    assert got[:3] == [1, 2, 3]
    assert got[-len(kept) :] == kept == list(range(kept[0], 100))


@pytest.mark.parametrize(("tail", "first"), [(0, 50), (1, 49), (7, 43), (49, 1), (1000, 0)])
def test_a_tail_counts_lines(tmp_path: Path, tail: int, first: int) -> None:
    """Over several files; a long line is one, in however many pieces it was written."""
    writer = LineFiles(tmp_path, 700, 3, LINE_MAX)
    for number in range(50):
        writer.take(1 + number % 2, b"%d:" % number + b"x" * (2 * LINE_MAX if number > 45 else 0))
        writer.take(1 + number % 2, b"\n")
    assert len(list(tmp_path.iterdir())) > 1
    reader = LineReader(tmp_path)
    reader.seek_tail(tail, 0)
    text = b"".join(data for _, data in read_all(reader))
    assert [int(line.split(b":")[0]) for line in text.splitlines()] == list(range(first, 50))
    writer.take(1, b"more\n")
    assert read_all(reader) == [(1, b"more\n")]


def test_what_a_crash_cut_is_taken_back(tmp_path: Path) -> None:
    """Half an entry is not read, and the next run writes over it."""
    writer, reader = files(tmp_path), LineReader(tmp_path)
    writer.take(1, b"whole\n")
    with next(tmp_path.iterdir()).open("ab") as file:
        file.write(b"17000 1 F ha")
    assert read_all(reader) == [(1, b"whole\n")]
    files(tmp_path).take(2, b"next\n")
    assert read_all(reader) == [(2, b"next\n")]


def test_a_full_disk_loses_lines_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry that is written in part is taken back; once there is space, lines go on."""
    writer, reader = files(tmp_path), LineReader(tmp_path)
    really = os.write

    def half(file: int, data: bytes) -> int:
        return really(file, data[: len(data) // 2])

    def none(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    writer.take(1, b"a\n")
    for refusal in (half, none):
        monkeypatch.setattr(os, "write", refusal)
        writer.take(1, b"lost\n")
    monkeypatch.setattr(os, "write", really)
    writer.take(1, b"b\n")
    assert read_all(reader) == [(1, b"a\n"), (1, b"b\n")]


async def test_streams_order_and_an_end_without_a_line_feed(runtime: ProcessRuntime) -> None:
    """Of a real task: which stream, growing times, and the last bytes as they were."""
    await runtime.start(plan("echo a; sleep 0.2; echo b >&2; sleep 0.2; printf end"))
    await wait_ended(runtime)
    chunks = [chunk async for batch in runtime.logs(ALLOCATION, 1) for chunk in batch]
    assert [(c.stream, c.data) for c in chunks] == [(1, b"a\n"), (2, b"b\n"), (1, b"end")]
    times = [chunk.at_ms for chunk in chunks]
    assert times == sorted(times)
    assert await lines(runtime, since_ms=times[1]) == [b"b\n", b"end"]
    assert await lines(runtime, tail_lines=1) == [b"end"]
    assert await lines(runtime, tail_lines=5, since_ms=times[2]) == [b"end"]


async def test_following_shows_lines_as_they_come_and_ends(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    """Each line before the next is asked for; the end of the task ends it, with all lines."""
    await runtime.start(plan("for i in 1 2 3; do echo $i; while [ ! -e $i ]; do :; done; done"))
    (home,) = tmp_path.glob("*/*/files")
    got = []
    with trio.fail_after(30):
        async for (chunk,) in runtime.logs(ALLOCATION, 1, follow=True):
            got.append(chunk.data)
            (home / chunk.data.decode().strip()).touch()
    assert got == [b"1\n", b"2\n", b"3\n"]


async def test_much_output_is_kept_whole(runtime: ProcessRuntime) -> None:
    """A megabyte of lines that nobody reads holds nobody up, and none is missing."""
    await runtime.start(plan("seq 150000"))
    assert (await wait_ended(runtime)).exit_code == 0
    got = await lines(runtime)
    assert (len(got), got[0], got[-1]) == (150_000, b"1\n", b"150000\n")
