"""The gate's stranger runs what README says in a home of their own, and fails on what is left."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 120
README = """# A project

make demo-of-something-else

## Set up

```
git clone <this repository> project && cd project
make demo GREETING='not so short'     # shows it
make test
```

## More

make demo
"""


def a_project(path: Path, demo: str) -> Path:
    """A repository with our gate's stranger, and a demo that does as given."""
    path.mkdir()
    shutil.copytree(
        ROOT / ".ci" / "stranger",
        path / ".ci" / "stranger",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (path / "README.md").write_text(README)
    (path / ".gitignore").write_text("made\n__pycache__/\n")
    (path / "Makefile").write_text(f"demo:\n\t{demo}\n")
    identity = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "A project"]):
        subprocess.run(["git", *command], cwd=path, check=True)
    return path


def visit(project: Path, place: Path) -> subprocess.CompletedProcess[str]:
    """What a stranger does with it; on a machine where others work too."""
    return subprocess.run(
        [sys.executable, ".ci/stranger", "clone", str(place), "--shared"],
        cwd=project,
        env={**os.environ, "P2POOL_API__BIND": "ours", "XDG_CACHE_HOME": "/ours"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_the_demo_is_run_word_for_word_twice_with_an_empty_home(tmp_path: Path) -> None:
    """What it says is shown, and nothing of our environment reaches it."""
    demo = '@env > made; echo "home: $$(ls -A "$$HOME")"; echo "$(GREETING)" >> "$$HOME/told"'
    project = a_project(tmp_path / "project", demo)
    place = tmp_path / "a place für sie"
    done = visit(project, place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("home: ")] == [
        "home: ",
        "home: told",
    ]
    assert (place / "home" / "told").read_text() == "not so short\n" * 2
    seen = (place / "p2pool" / "made").read_text()
    assert f"HOME={place / 'home'}\n" in seen
    assert f"TMPDIR={place / 'tmp'}\n" in seen
    assert "P2POOL_" not in seen
    assert "XDG_" not in seen


@pytest.mark.parametrize(
    ("demo", "said"),
    [
        ("setsid sleep 1000 >/dev/null 2>&1 &", "sleep 1000"),
        ('touch "$$TMPDIR/p2pool-left"', "tmp/p2pool-left"),
        ("mkdir ../beside", "/beside"),
        ("touch not-ignored", "git status"),
        ("echo well >> README.md", "git diff"),
        ("exit 7", "failed with exit code"),
    ],
)
def test_what_the_demo_leaves_or_does_not_do_fails(demo: str, said: str, tmp_path: Path) -> None:
    """A process, a file in TMPDIR, a directory, changes of the clone, a failure."""
    done = visit(a_project(tmp_path / "project", demo), tmp_path / "place")
    assert done.returncode == 1, done.stdout + done.stderr
    failed = done.stdout.partition("== FAILED: ")[2]
    assert said in failed, done.stdout
    assert "Traceback" not in done.stderr


def test_a_command_that_says_nothing_is_seen_to_run(tmp_path: Path) -> None:
    """And one that takes too long is ended, with all that it started."""
    script = (
        "import screen, pathlib; screen.SILENT_S = 0.2\n"
        "code = screen.watched('echo begun; sleep 1000', pathlib.Path('/'), {'PATH': '/bin'}, 2)\n"
        "print('code', code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT / ".ci" / "stranger")},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "begun"
    assert any("still runs" in line for line in lines[1:-2])
    assert "did not finish within 2 s" in lines[-2]
    assert lines[-1] == "code 124"
