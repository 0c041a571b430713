"""`make setup` on the machines that people have: it works, heals itself, says what it does."""

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

from tests.first_run.harness.strangers import latin1
from tests.install.checkout import DEADLINE_S, Checkout, base_python, put_wheel


def test_it_installs_where_little_is_as_usual(checkout: Checkout, tmp_path: Path) -> None:
    """An odd path, the C locale, no home, an odd TMPDIR, no git, no compiler; then it is quick.

    What is told is a line for each step, and none of pip's words, which are in the log.
    """
    odd = tmp_path / "ein Ort für Späne"
    odd.mkdir()
    surroundings = {"LC_ALL": "C", "LANG": "C", "TMPDIR": str(odd)}
    first = checkout.make("setup", **surroundings)
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stderr == ""
    lines = first.stdout.splitlines()
    assert all(re.match(r" *\d+ s  ", line) for line in lines), lines
    assert re.search(r"making a virtual environment with Python 3\.\d+", first.stdout)
    assert "installing 2 packages" in first.stdout
    assert "p2pool is installed in .venv, with 3 packages" in lines[-1]
    assert "WARNING" not in first.stdout
    log = (checkout.venv / "install.log").read_text()
    assert re.search(r"^\$ .*python -m pip install .*--find-links packaging/wheels", log, re.M)
    assert "Successfully installed p2pool-0.1.0 varint-1.0.2" in log
    assert checkout.packages() >= {"p2pool", "varint"}
    assert list(odd.iterdir()) == []

    for locale in ("C", "C.UTF-8"):
        script = checkout.run([str(checkout.venv / "bin" / "p2pool")], LC_ALL=locale)
        assert script.stdout == "p2pool runs\n", script.stderr
    again = checkout.make("setup", HOME="/proc", **surroundings)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_it_installs_where_the_locale_is_latin_1(checkout: Checkout, tmp_path: Path) -> None:
    """The umlauts of its path are UTF-8; what it installs runs in that locale and in others."""
    narrow = latin1(tmp_path)
    made = checkout.make("setup", **narrow)
    assert made.returncode == 0, made.stdout + made.stderr
    for locale in (narrow, {"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}):
        script = checkout.run([str(checkout.venv / "bin" / "p2pool")], None, **locale)
        assert script.stdout == "p2pool runs\n", (locale, script.stderr)


def test_what_changes_is_installed_and_the_tests_tools_only_for_tests(begun: Checkout) -> None:
    """A change of pyproject.toml, then the extra; a setup without it afterwards keeps it."""
    wheels = begun.path / "packaging" / "wheels"
    put_wheel(wheels, "tool", {"tool.py": b""})
    begun.requires("varint", extra=["tool"])
    assert begun.make("setup").returncode == 0
    assert "tool" not in begun.packages()
    begun.requires("varint", "python-baseconv", extra=["tool"])
    changed = begun.make("setup")
    assert changed.returncode == 0, changed.stdout + changed.stderr
    assert "python_baseconv" in begun.packages()
    assert "virtual environment" not in changed.stdout
    assert begun.make("setup-dev").returncode == 0
    assert "tool" in begun.packages()
    begun.requires("varint", "python-baseconv", extra=["tool", "varint"])
    assert begun.make("setup").returncode == 0
    with (begun.path / "pyproject.toml").open("a") as settings:
        settings.write("\n[tool.ruff]\nline-length = 99\n")
    for target in ("setup", "setup-dev"):
        quick = begun.make(target)
        assert (quick.returncode, quick.stdout) == (0, "")


def test_a_moved_or_copied_clone_heals_itself(begun: Checkout, tmp_path: Path) -> None:
    """The environment of a copy is its own: its scripts name the copy, and so does its p2pool.

    It holds what is asked for now, and not what was there before.
    """
    put_wheel(begun.path / "packaging" / "wheels", "tool", {"tool.py": b""})
    begun.requires("varint", extra=["tool"])
    assert begun.make("setup-dev").returncode == 0
    copy = Checkout(tmp_path / "copy", begun.tools, begun.environment)
    shutil.copytree(begun.path, copy.path, symlinks=True)
    (begun.path / "p2pool.py").write_text("raise SystemExit('this is the other clone')\n")
    healed = copy.make("setup")
    assert healed.returncode == 0, healed.stderr
    assert f"making .venv again: it was made for {begun.path}" in healed.stdout
    ran = copy.run([str(copy.venv / "bin" / "p2pool")])
    assert ran.stdout == "p2pool runs\n", ran.stderr
    assert "tool" not in copy.packages()
    assert copy.make("setup").stdout == ""
    assert copy.make("setup-dev").returncode == 0
    assert "tool" in copy.packages()


def test_an_environment_that_cannot_be_used_is_made_anew(checkout: Checkout) -> None:
    """Its Python was uninstalled, as by an upgrade of the machine."""
    (checkout.venv / "bin").mkdir(parents=True)
    checkout.python.symlink_to("/usr/bin/python3.5")
    made = checkout.make("setup")
    assert made.returncode == 0, made.stderr
    assert "making .venv again: its Python no longer runs" in made.stdout
    assert "varint" in checkout.packages()


def test_an_interrupted_installation_is_begun_again(begun: Checkout, tmp_path: Path) -> None:
    """Ctrl-C ends pip and says how to go on; the half of an environment is not trusted."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    backend = begun.path / "backend.py"
    whole = backend.read_text()
    backend.write_text(
        f"import os, pathlib, signal\npath = pathlib.Path({str(tmp_path)!r})\n"
        "(path / 'new').write_text(str(os.getpid()))\n"
        "(path / 'new').rename(path / 'pid')\nsignal.pause()\n"
    )
    process = subprocess.Popen(
        ["sh", "packaging/setup", "--again", "make demo"],
        cwd=begun.path,
        env=begun.with_environment(TMPDIR=str(temporary)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (tmp_path / "pid").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert "the installation was interrupted" in told
    assert "go on with: make demo" in told
    assert "Traceback" not in told
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int((tmp_path / "pid").read_text())).wait(DEADLINE_S)
    assert list(temporary.iterdir()) == []
    backend.write_text(whole)
    again = begun.make("setup")
    assert again.returncode == 0, again.stderr
    assert "making .venv again: the last installation was interrupted" in again.stdout


def test_two_at_once_take_turns(begun: Checkout) -> None:
    """The second waits, says so, and then finds all done."""
    pair = [
        subprocess.Popen(
            ["make", "setup"],
            cwd=begun.path,
            env=begun.with_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=DEADLINE_S) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], told
    lines = "".join(out for out, _ in told)
    assert lines.count("another installation is running in this directory") == 1
    assert lines.count("p2pool is installed in .venv") == 1


def test_an_environment_without_pip_is_made_anew(checkout: Checkout) -> None:
    """As `uv venv` makes them: its Python runs, and could install nothing for ever."""
    subprocess.run([base_python(), "-m", "venv", "--without-pip", checkout.venv], check=True)
    made = checkout.make("setup")
    assert made.returncode == 0, made.stderr
    assert "making .venv again: it has no pip" in made.stdout
    assert "varint" in checkout.packages()
