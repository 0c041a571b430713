"""Trees that somebody hostile made are measured, exported and deleted without leaving them."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pool.drivers.containers import safe_tree
from p2pool.model import limits
from p2pool.model.errors import Conflict

OUTSIDE = "not yours\n"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A tree with everything in it that a container can make, beside something to be left alone."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text(OUTSIDE)
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "file").write_text("words\n")
    (root / "empty").mkdir()
    (root / "link").symlink_to(outside)
    (root / "link-to-file").symlink_to(outside / "secret")
    (root / "loop").symlink_to("loop")
    (root / "up").symlink_to("../..")
    os.mkfifo(root / "pipe")
    (root / "hard").hardlink_to(root / "a" / "b" / "file")
    (root / os.fsdecode(b"\xff\xfe name")).write_text("x")
    yield root
    assert (outside / "secret").read_text() == OUTSIDE
    assert outside.is_dir()


def archived(root: Path) -> tarfile.TarFile:
    """The export of a tree, read back."""
    with safe_tree.opened(str(root)) as directory:
        data = b"".join(safe_tree.archive(directory))
    return tarfile.open(fileobj=io.BytesIO(data))


def deep(root: Path, depth: int) -> None:
    """Directories within each other, deeper than a path can name."""
    directory = os.open(root, os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=directory)
        below = os.open("d", os.O_DIRECTORY, dir_fd=directory)
        os.close(directory)
        directory = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    os.close(directory)


def test_all_that_is_in_it_and_no_more_is_exported(tree: Path) -> None:
    """Links stay links; what is behind them, and what is no data, is not in the archive."""
    found = {member.name: member for member in archived(tree)}
    assert found["link"].issym()
    assert found["link-to-file"].linkname.endswith("secret")
    assert "pipe" not in found
    assert not any("secret" in name for name in found)
    file = archived(tree).extractfile("a/b/file")
    assert file is not None
    assert file.read() == b"words\n"
    assert found["empty"].isdir()


def test_each_byte_is_counted_once(tree: Path) -> None:
    """Not what is behind links, and a file with two names is one."""
    with safe_tree.opened(str(tree)) as directory:
        before = safe_tree.measure(directory)
    (tree / "again").hardlink_to(tree / "hard")
    (tree / "more").write_bytes(b"x" * 1_000_000)
    with safe_tree.opened(str(tree)) as directory:
        after = safe_tree.measure(directory)
    assert before.whole
    assert 1_000_000 <= after.used_bytes - before.used_bytes < 1_100_000


def test_a_sparse_file_takes_what_it_takes(tree: Path) -> None:
    """A file that says that it is huge and holds nothing is over no quota."""
    with (tree / "sparse").open("wb") as file:
        file.truncate(2**40)
    with safe_tree.opened(str(tree)) as directory:
        assert safe_tree.measure(directory).used_bytes < 2**20


def test_it_is_deleted_whole(tree: Path) -> None:
    """And nothing beside it."""
    with safe_tree.opened(str(tree)) as directory:
        safe_tree.clear(directory)
    assert list(tree.iterdir()) == []


@pytest.mark.parametrize("depth", [limits.VOLUME_DEPTH_MAX + 5, 3_000])
def test_no_depth_is_too_deep(tree: Path, depth: int) -> None:
    """It is deleted; measuring says that there is more; an export says why it is none."""
    deep(tree, depth)
    with safe_tree.opened(str(tree)) as directory:
        assert not safe_tree.measure(directory).whole
        with pytest.raises(Conflict, match="nested too deep"):
            for _ in safe_tree.archive(directory):
                pass
        safe_tree.clear(directory)
    assert list(tree.iterdir()) == []


def test_more_files_than_are_counted(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound, and that it was reached is said."""
    monkeypatch.setattr(limits, "VOLUME_ENTRIES_MAX", 5)
    with safe_tree.opened(str(tree)) as directory:
        assert not safe_tree.measure(directory).whole


def test_a_link_is_no_directory(tree: Path) -> None:
    """Opening one below a directory that is held does not follow it, wherever it leads."""
    with safe_tree.opened(str(tree)) as directory:
        for name in ("link", "up", "loop"):
            with pytest.raises(OSError, match=r"(?i)symbolic links|not a directory"):
                with safe_tree.opened(name, directory):
                    pass


def test_what_is_swapped_between_two_looks_is_left_out(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that becomes a link to outside after it was seen, at the worst moment."""
    real = os.lstat
    swapped: list[str] = []

    def lstat(name: str, *, dir_fd: int | None = None) -> os.stat_result:
        status = real(name, dir_fd=dir_fd)
        if name == "a" and not swapped:
            swapped.append(name)
            (tree / "a").rename(tree / "z")
            (tree / "a").symlink_to(tree.parent / "outside")
        return status

    monkeypatch.setattr(os, "lstat", lstat)
    names = [member.name for member in archived(tree)]
    assert swapped
    assert not any(name.startswith("a/") or "secret" in name for name in names)


def test_a_file_that_shrinks_or_grows_keeps_the_archive_whole(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is filled up or cut to what it was when its turn came."""
    (tree / "a" / "b" / "file").write_bytes(b"x" * 1_000)
    real = os.read

    def read(descriptor: int, count: int) -> bytes:
        with (tree / "a" / "b" / "file").open("r+b") as file:
            file.truncate(10)
        return real(descriptor, count)

    monkeypatch.setattr(os, "read", read)
    found = archived(tree)
    file = found.extractfile("a/b/file")
    assert file is not None
    assert file.read() == b"x" * 10 + bytes(990)
    assert len(found.getnames()) >= 8
