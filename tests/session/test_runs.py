"""Runs of pytest with this project's own conftest, over small trees of tests."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 120
PACKAGE = """
import time, pytest

@pytest.fixture(scope="package")
def slow():
    time.sleep(0.4)
    yield
    time.sleep(0.4)
"""
SLOW = "def test_first(slow): pass\ndef test_second(slow): pass\n"
WORKERS = ("-p", "xdist.plugin", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
FAST = "def test_fast(): pass\n"
LEAVES = """
import subprocess, sys, tempfile
CHILD = "import tempfile; tempfile.mkdtemp(prefix='child-')"

def test_tidy():
    with tempfile.TemporaryDirectory(dir="/tmp"):
        subprocess.run([sys.executable, "-c", "import tempfile; tempfile.TemporaryDirectory()"])

def test_kept(tmp_path):
    tempfile.mkdtemp(dir=tmp_path)
"""
UNTIDY = """
def test_untidy():
    tempfile.mkdtemp(prefix="p2left-", dir="/tmp")
    subprocess.run([sys.executable, "-c", CHILD], check=True)
"""
ENDLESS = """
import pytest, trio

@pytest.fixture
def engine():
    yield
    print("ended in order", flush=True)

@pytest.mark.trio
async def test_endless(engine):
    print("began", flush=True)
    await trio.sleep_forever()

def test_next():
    print("went on", flush=True)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project whose tests take nearly a second in one folder, and nothing in another."""
    tests = tmp_path / "tests"
    for folder, text in (("slow", SLOW), ("fast", FAST)):
        (tests / folder).mkdir(parents=True)
        (tests / folder / f"test_{folder}.py").write_text(text)
        (tests / folder / "__init__.py").touch()
    (tests / "slow" / "conftest.py").write_text(PACKAGE)
    shutil.copy(ROOT / "tests" / "conftest.py", tests)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    budget(tmp_path, slow=0.003)
    return tmp_path


def budget(tree: Path, **minutes: float) -> None:
    """Give folders these minutes, and `fast` as much as it likes."""
    rows = {"fast": 1, **minutes}
    text = "".join(f"{name} = {{ minutes = {most} }}\n" for name, most in rows.items())
    (tree / "tests" / "budget.toml").write_text(f"total_minutes = 10\n[folders]\n{text}")


def start(tree: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Begin a run; what it says comes by its standard output."""
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "--basetemp=kept", *arguments],
        cwd=tree,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )


def run(tree: Path, *arguments: str) -> tuple[int, str]:
    """The exit code of a run, and what it said."""
    running = start(tree, *arguments)
    said, _ = running.communicate(timeout=DEADLINE_S)
    return running.returncode, said


def test_a_run_of_all_tests_fails_by_a_folder_that_takes_too_long(tree: Path) -> None:
    """By what its package sets up and ends, too; with room enough, the same run passes."""
    code, said = run(tree)
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "3 passed" in said
    assert "ERROR tests/slow took 0.0 minutes, and its budget is 0.003" in said
    assert "test_first 0 s" in said
    assert "tests/fast took" not in said
    budget(tree, slow=1)
    code, said = run(tree)
    assert code == 0, said
    assert "minutes by folder" in said
    assert "ERROR" not in said


def test_what_all_may_take_is_kept_by_a_run_with_the_workers_that_it_is_for(tree: Path) -> None:
    """One process alone takes longer, and only its folders are held to their minutes."""
    rows = "[folders]\nslow = { minutes = 0.001 }\nfast = { minutes = 0.001 }\n"
    text = f"total_minutes = 0.001\nworkers = 2\n{rows}"
    (tree / "tests" / "budget.toml").write_text(text)
    assert "ERROR All tests took" not in run(tree)[1]
    assert "ERROR All tests took" in run(tree, *WORKERS)[1]


def test_a_part_of_the_tests_is_only_shown_when_asked_for(tree: Path) -> None:
    """And kept to its budget when that is asked for."""
    for part in (("tests/slow",), ("-k", "first or second"), ("--deselect", "tests/fast")):
        code, said = run(tree, *part)
        assert (code, "minutes by folder" in said) == (0, False), said
    code, said = run(tree, "--budget=show", "tests/slow")
    assert (code, "minutes by folder" in said) == (0, True)
    code, said = run(tree, "--budget=keep", "tests/slow")
    assert (code, "ERROR tests/slow took" in said) == (1, True)


def test_a_folder_that_nobody_budgeted_is_told_before_anything_runs(tree: Path) -> None:
    """Nor does a run of all tests begin with a budget for nothing."""
    budget(tree)
    code, said = run(tree)
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "No budget for tests/slow" in said
    budget(tree, slow=1, gone=1)
    code, said = run(tree)
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "budget for tests/gone, where no test is" in said


def test_what_tests_leave_behind_fails_the_run_and_is_removed(tree: Path) -> None:
    """What they make themselves and what their processes make; `tmp_path` is pytest's to keep."""
    path = tree / "tests" / "fast" / "test_leaves.py"
    path.write_text(LEAVES)
    code, said = run(tree, "tests/fast")
    assert (code, "ERROR" in said) == (0, False), said
    path.write_text(LEAVES + UNTIDY)
    code, said = run(tree, "tests/fast")
    assert code == pytest.ExitCode.TESTS_FAILED
    left = [Path(line.split()[4]) for line in said.splitlines() if "ERROR The tests left" in line]
    assert [path.name.partition("-")[0] for path in left] == ["p2left", "child"]
    assert not any(path.exists() for path in (*left, left[1].parent))


def test_what_workers_leave_behind_fails_the_run_too(tree: Path) -> None:
    """Each knows only what it made itself, and says so to the process that judges."""
    path = tree / "tests" / "fast" / "test_leaves.py"
    path.write_text(LEAVES + UNTIDY)
    code, said = run(tree, *WORKERS, "tests/fast")
    assert code == pytest.ExitCode.TESTS_FAILED
    left = [Path(line.split()[4]) for line in said.splitlines() if "ERROR The tests left" in line]
    assert [path.name.partition("-")[0] for path in left] == ["p2left", "child"], said
    assert not any(path.exists() for path in (*left, left[1].parent))


def test_workers_begin_with_the_folder_that_takes_longest(tree: Path) -> None:
    """A run is as long as its last file, which is to be a short one."""
    budget(tree, slow=1, fast=0.5)
    (tree / "tests" / "fast" / "test_other.py").write_text(FAST)
    one = ("1" if word == "2" else word for word in WORKERS)  # Of two, either may speak first.
    code, said = run(tree, *one, "-v", "tests")
    assert code == 0, said
    begun = [line.split("::")[0] for line in said.splitlines() if line.startswith("tests/")]
    assert begun[0] == "tests/slow/test_slow.py", said


def test_one_worker_runs_a_folder_whose_files_share_a_pool(tree: Path) -> None:
    """What comes up for a whole folder comes up once, by however many its tests are run."""
    folder = tree / "tests" / "e2e" / "validator"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "__init__.py").touch()
    begun = tree / "begun"
    (folder / "conftest.py").write_text(f"{PACKAGE}    open({str(begun)!r}, 'a').write('1')\n")
    for name in ("first", "second", "third"):
        (folder / f"test_{name}.py").write_text("def test_it(slow): pass\n")
    budget(tree, slow=1, e2e=1)
    code, said = run(tree, *WORKERS, "tests")
    assert code == 0, said
    assert begun.read_text() == "1"


def test_what_a_failed_test_leaves_is_kept_to_look_at(tree: Path) -> None:
    """It is named all the same."""
    path = tree / "tests" / "fast" / "test_leaves.py"
    path.write_text(LEAVES + UNTIDY + "    assert False\n")
    code, said = run(tree, "tests/fast")
    assert code == pytest.ExitCode.TESTS_FAILED
    left = [Path(line.split()[3][:-1]) for line in said.splitlines() if "look there" in line]
    assert len(left) == 2
    for one in left:
        one.rmdir()
    left[1].parent.rmdir()


def test_a_run_that_is_asked_to_end_ends_what_it_started(tree: Path) -> None:
    """SIGTERM is as Ctrl-C: fixtures tidy up."""
    path = tree / "tests" / "fast" / "test_endless.py"
    path.write_text(ENDLESS)
    running = start(tree, "-p", "pytest_trio.plugin", "-s", "tests/fast/test_endless.py")
    assert running.stdout is not None
    with running.stdout as lines:
        assert any("began" in line for line in lines)
        running.send_signal(signal.SIGTERM)
        assert any("ended in order" in line for line in lines)
        assert "went on" not in lines.read()
    assert running.wait(DEADLINE_S) == pytest.ExitCode.INTERRUPTED


def test_workers_of_a_run_that_is_asked_to_end_end_in_order(tree: Path) -> None:
    """What they say goes nowhere, so they write it down."""
    path, told = tree / "tests" / "fast" / "test_endless.py", tree / "told"
    told.touch()
    path.write_text(
        ENDLESS.replace(", flush=True)", f", flush=True, file=open({str(told)!r}, 'a'))")
    )
    running = start(tree, *WORKERS, "-p", "pytest_trio.plugin", "tests/fast/test_endless.py")
    while "began" not in told.read_text():
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    said, _ = running.communicate(timeout=DEADLINE_S)
    assert running.returncode == pytest.ExitCode.INTERRUPTED, said
    assert "ended in order" in told.read_text()
    assert "went on" not in told.read_text()
