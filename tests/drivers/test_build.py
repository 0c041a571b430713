"""A program says which commit it was made of, wherever it runs from, and never fails over it."""

import subprocess
from pathlib import Path

import pytest

from p2pool import __version__
from p2pool.drivers.build import Build, commit_of, this_build

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _git(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / ".git" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("files", "commit"),
    [
        ({"HEAD": f"{COMMIT}\n"}, "0123456"),
        ({"HEAD": "ref: refs/heads/a/b\n", "refs/heads/a/b": f"{COMMIT}\n"}, "0123456"),
        (
            {
                "HEAD": "ref: refs/heads/b\n",
                "packed-refs": f"# pack-refs\n{'f' * 40} refs/heads/a\n{COMMIT} refs/heads/b\n",
            },
            "0123456",
        ),
        ({"HEAD": "ref: refs/heads/unborn\n", "packed-refs": ""}, None),
        ({"HEAD": "ref: refs/heads/unborn\n"}, None),
        ({"HEAD": "rubbish\n"}, None),
        ({}, None),
    ],
    ids=["detached", "loose", "packed", "unborn", "no refs", "rubbish", "no checkout"],
)
def test_the_commit_is_read_from_gits_files(
    tmp_path: Path, files: dict[str, str], commit: str | None
) -> None:
    """Each way in which git keeps what HEAD is; anything else is no commit."""
    _git(tmp_path, files)
    assert commit_of(tmp_path) == commit


def test_a_work_tree_shares_the_references_of_its_repository(tmp_path: Path) -> None:
    """`git worktree add`: `.git` is a file, and the branches are elsewhere."""
    own = tmp_path / "main/.git/worktrees/second"
    own.mkdir(parents=True)
    (own / "HEAD").write_text("ref: refs/heads/second\n")
    (own / "commondir").write_text("../..\n")
    branch = tmp_path / "main/.git/refs/heads/second"
    branch.parent.mkdir(parents=True)
    branch.write_text(f"{COMMIT}\n")
    tree = tmp_path / "second"
    tree.mkdir()
    (tree / ".git").write_text(f"gitdir: {own}\n")
    assert commit_of(tree) == "0123456"


@pytest.mark.parametrize(
    ("written", "build"),
    [
        ("0123456\n", Build(__version__, "0123456")),
        ("0123456+dirty\n", Build(__version__, "0123456", dirty=True)),
        ("\n", Build(__version__)),
    ],
)
def test_a_wheel_says_what_was_written_at_its_build(
    tmp_path: Path, written: str, build: Build
) -> None:
    """What was written counts, even inside of somebody's checkout."""
    _git(tmp_path, {"HEAD": "f" * 40})
    package = tmp_path / "p2pool"
    package.mkdir()
    (package / "commit.txt").write_text(written)
    assert this_build(package) == build


def test_what_was_changed_since_the_commit_is_marked(tmp_path: Path) -> None:
    """A checkout with changes in the package is not its commit; other files do not matter."""
    package = tmp_path / "p2pool"
    package.mkdir()
    (package / "one.py").write_text("1\n")
    me = ("-c", "user.name=n", "-c", "user.email=e")
    for command in (("init", "-q"), ("add", "."), (*me, "commit", "-qm", "one")):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    (tmp_path / "notes").write_text("mine\n")
    clean = this_build(package)
    (package / "one.py").write_text("2\n")
    changed = this_build(package)
    assert clean.commit is not None
    assert (clean.dirty, changed) == (False, clean._replace(dirty=True))


def test_people_see_version_and_commit() -> None:
    """With the commit where it is known."""
    shown = [str(Build("0.2.0", *rest)) for rest in ((), ("abc1234",), ("abc1234", True))]
    assert shown == ["0.2.0", "0.2.0 (abc1234)", "0.2.0 (abc1234+dirty)"]
