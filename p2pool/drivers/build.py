"""Which build of p2pool this is: its version, and the commit that it was made of.

A wheel carries a file with its commit, written when it was built (`packaging/build_hook.py`). A
checkout has none, and is asked itself: the commit is read from git's files, and git is run only to
see whether something was changed since. Where neither can tell, the commit is not known, and
nothing fails. Only commands that show it come here: nothing of this happens for `--help`. The build
imports this file where nothing is installed, so it needs Python's own library alone.
"""

import subprocess
from pathlib import Path
from typing import NamedTuple

from p2pool import __version__

PACKAGE = Path(__file__).resolve().parent.parent
FILE_NAME = "commit.txt"
SHORT = 7
DIRTY = "+dirty"
GIT_DEADLINE_S = 5


class Build(NamedTuple):
    """A version and its commit. `commit` None: not known. `dirty`: changed since that commit."""

    version: str
    commit: str | None = None
    dirty: bool = False

    def __str__(self) -> str:
        """As people are shown it: `0.2.0 (abc1234)`."""
        if self.commit is None:
            return self.version
        return f"{self.version} ({self.commit}{DIRTY if self.dirty else ''})"


def this_build(package: Path = PACKAGE) -> Build:
    """The build that runs now."""
    try:
        written = (package / FILE_NAME).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        root = package.parent
        commit = commit_of(root)
        return Build(__version__, commit, commit is not None and changed(root))
    return Build(__version__, written.removesuffix(DIRTY) or None, written.endswith(DIRTY))


def commit_of(root: Path) -> str | None:
    """The commit that a checkout is at, from git's files alone; None where there is no checkout."""
    try:
        git = _git_directory(root)
        head = (git / "HEAD").read_text(encoding="ascii").strip()
        if not head.startswith("ref: "):
            return _short(head)
        name = head.removeprefix("ref: ")
        shared = git / "commondir"
        common = git / shared.read_text().strip() if shared.is_file() else git
        loose = common / name
        if loose.is_file():
            return _short(loose.read_text(encoding="ascii").strip())
        for line in (common / "packed-refs").read_text(encoding="utf-8").splitlines():
            commit, _, packed = line.partition(" ")
            if packed == name:
                return _short(commit)
    except (OSError, ValueError):
        pass
    return None


def _git_directory(root: Path) -> Path:
    """`.git` itself, or where the file of that name points to in a work tree."""
    git = root / ".git"
    if git.is_file():
        return root / git.read_text(encoding="utf-8").strip().removeprefix("gitdir: ")
    return git


def _short(commit: str) -> str | None:
    is_commit = len(commit) >= SHORT and all(one in "0123456789abcdef" for one in commit)
    return commit[:SHORT] if is_commit else None


def changed(root: Path) -> bool:
    """Whether the package differs from the commit; False where git cannot say."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "status", "--porcelain", "--", "p2pool", "abi"],
            capture_output=True,
            check=False,
            timeout=GIT_DEADLINE_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0 and bool(done.stdout.strip())
