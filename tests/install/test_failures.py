"""What can go wrong with an installation ends in a sentence, a command and a log, by real pip."""

import io
import os
import shlex
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.install.checkout import (
    NOBODY,
    Checkout,
    base_python,
    lay_out,
    machine_settings,
    put_python,
    put_wheel,
)

MIB = 1024 * 1024
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounts, or becomes somebody else")


def fails(done: subprocess.CompletedProcess[str], *said: str) -> None:
    """It failed by saying each of these, without a traceback or a word of pip's."""
    told = done.stdout + done.stderr
    assert done.returncode != 0, told
    for one in said:
        assert one in told, told
    assert "Traceback" not in told
    assert "WARNING" not in told


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that takes an environment by its size, and not by what is put on it."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=580m", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_registry_that_cannot_be_reached(begun: Checkout) -> None:
    """Nobody listens: said at once, with the address, what to do, and where the log is."""
    url = "http://127.0.0.1:1/simple"
    done = begun.make("demo", PIP_NO_INDEX="", PIP_INDEX_URL=url)
    fails(
        done,
        "the package registry at 127.0.0.1:1 does not answer",
        "PIP_INDEX_URL",
        "make demo",
        "install.log",
    )
    assert "the registry does not answer; trying again" in done.stdout
    assert "Connection refused" in (begun.venv / "install.log").read_text()


def test_a_registry_that_is_silent(begun: Checkout) -> None:
    """It accepts and never answers: the wait is bounded, and said while it lasts."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/simple"
        began = time.monotonic()
        done = begun.make("setup", PIP_NO_INDEX="", PIP_INDEX_URL=url, PIP_DEFAULT_TIMEOUT="1")
    fails(done, "the package registry at 127.0.0.1", "does not answer")
    assert "trying again" in done.stdout
    assert time.monotonic() - began < 120


def test_what_failed_does_not_undo_what_is_there(begun: Checkout) -> None:
    """The tests' tools cannot be had, and are named; the demo still runs."""
    begun.requires("varint", extra=["no-such-thing-of-p2pool"])
    assert begun.make("setup").returncode == 0
    failed = begun.make("setup-dev")
    fails(failed, "no-such-thing-of-p2pool is not here", "unset PIP_NO_INDEX")
    again = begun.make("setup")
    assert (again.returncode, again.stdout) == (0, "")


def test_no_compiler_for_a_package_without_a_wheel(begun: Checkout) -> None:
    """The real setuptools, from the registry, look for a C compiler in vain."""
    files = {
        "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\n'
        'build-backend = "setuptools.build_meta"\n',
        "setup.py": "from setuptools import setup, Extension\n"
        "setup(name='p2pool-compiled', version='1.0', ext_modules=[Extension('inc', ['inc.c'])])\n",
        "inc.c": "int x;\n",
        "PKG-INFO": "Metadata-Version: 2.1\nName: p2pool-compiled\nVersion: 1.0\n",
    }
    with tarfile.open(
        begun.path / "packaging/wheels/p2pool_compiled-1.0.tar.gz", "w:gz"
    ) as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"p2pool_compiled-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    begun.requires("p2pool-compiled")
    done = begun.make("setup", PIP_NO_INDEX="", **machine_settings())
    fails(
        done,
        "p2pool-compiled has no wheel for Python 3.",
        "there is no compiler here",
        "sudo apt-get install gcc",
    )


@AS_ROOT
def test_a_disk_that_is_nearly_full(tmp_path: Path) -> None:
    """It is said before anything is fetched."""
    small = tmp_path / "disk"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(small)], check=True)
    try:
        checkout = lay_out(small / "p2pool", tmp_path / "tools")
        done = checkout.make("setup")
        fails(done, f"the disk of {checkout.path} has", "MiB free", "takes 550 MiB", "df -h")
        assert not checkout.venv.exists()
    finally:
        subprocess.run(["umount", str(small)], check=True)


@AS_ROOT
def test_a_disk_that_fills_up_meanwhile(small_disk: Path, tmp_path: Path, bare_venv: Path) -> None:
    """The disk, how little is free, and how much it takes; pip's log could not even be written."""
    checkout = lay_out(small_disk / "p2pool", tmp_path / "tools")
    checkout.takes(bare_venv)
    put_wheel(checkout.path / "packaging" / "wheels", "large", {"large.bin": bytes(600 * MIB)})
    checkout.requires("large")
    done = checkout.make("setup")
    fails(done, "a disk is full", str(checkout.path), "about 550 MiB", "df -h")


@pytest.fixture
def disk_of_few_files(tmp_path: Path) -> Iterator[Path]:
    """A disk with room, and with inodes for no more than 4000 files."""
    path = tmp_path / "few"
    path.mkdir()
    options = "size=1g,nr_inodes=4000"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", str(path)], check=True)


@AS_ROOT
def test_a_disk_that_takes_too_few_files(disk_of_few_files: Path, tmp_path: Path) -> None:
    """It is said before anything is made; df -h would show room."""
    checkout = lay_out(disk_of_few_files / "p2pool", tmp_path / "tools")
    fails(checkout.make("setup"), f"the disk of {checkout.path} takes 3", "more files", "df -i")
    assert not checkout.venv.exists()


@AS_ROOT
def test_a_disk_that_takes_no_more_files_meanwhile(
    disk_of_few_files: Path, tmp_path: Path, bare_venv: Path
) -> None:
    """Its inodes are used up while packages are unpacked: no package is blamed."""
    checkout = lay_out(disk_of_few_files / "it's p2pool", tmp_path / "tools")
    checkout.takes(bare_venv)
    many = {f"many/file_{number}.txt": b"" for number in range(4000)}
    put_wheel(checkout.path / "packaging" / "wheels", "many", many)
    checkout.requires("many")
    done = checkout.make("setup")
    shown = shlex.quote(str(checkout.path))
    fails(done, "more files", f"df -i {shown} shows")


@AS_ROOT
def test_a_full_disk_for_temporary_files(checkout: Checkout, tmp_path: Path) -> None:
    """The step that puts pip into the environment does not even say what it met."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True)
    try:
        done = checkout.make("setup", TMPDIR=str(small))
        fails(done, "a disk is full", f"that of {small} has", "TMPDIR names another one")
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_path_that_no_environment_can_have(tmp_path: Path) -> None:
    """Python's venv refuses a colon, which ends a directory in PATH."""
    checkout = lay_out(tmp_path / "a:b" / "p2pool", tmp_path / "tools")
    fails(checkout.make("setup"), "its path has a colon", "move the clone")


@AS_ROOT
def test_a_directory_that_is_somebody_elses(checkout: Checkout) -> None:
    """Whose it is to be, or to clone to a directory of one's own."""
    put_python(checkout.tools, "python3", 'exec /usr/bin/python3 "$@"')
    checkout.open_to_all()
    done = checkout.run(["make", "setup"], NOBODY)
    fails(done, "this user may not write to", "sudo chown", "clone p2pool to a directory of")


@AS_ROOT
def test_a_disk_that_is_read_only(small_disk: Path, tmp_path: Path) -> None:
    """As a mounted image or a snapshot."""
    checkout = lay_out(small_disk / "p2pool", tmp_path / "tools")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    fails(checkout.make("setup"), "read-only file system", "clone p2pool to a disk of yours")


# --- which Python ---------------------------------------------------------------------------------


def test_no_python_at_all(checkout: Checkout) -> None:
    """The sentence names the command for Debian, and how to name a Python."""
    (checkout.tools / "python3").unlink()
    fails(
        checkout.make("test"),
        "needs Python 3.11 or later; 'python3' does not run here",
        "sudo apt-get install python3",
        "make test PYTHON=",
    )


def test_a_python_that_is_too_old(checkout: Checkout) -> None:
    """One that is found by default, and one that is asked for."""
    put_python(checkout.tools, "python3", "echo 309")
    fails(checkout.make("setup"), "'python3' here is Python 3.9")
    put_python(checkout.tools, "python2", "echo 207")
    fails(checkout.make("setup", "PYTHON=python2"), "'python2' here is Python 2.7")


def test_a_python_whose_path_has_quotes(checkout: Checkout, tmp_path: Path) -> None:
    """The Makefile hands it on as it is."""
    folder = tmp_path / "a'b"
    folder.mkdir()
    put_python(folder, "python", "echo 207")
    done = checkout.make("setup", f"PYTHON={folder}/python")
    fails(done, f"'{folder}/python' here is Python 2.7")


def test_another_python_is_found_where_the_usual_one_is_too_old(begun: Checkout) -> None:
    """python3.12 that does not run, as pyenv's stand-ins, is passed over; python3.11 is taken."""
    put_python(begun.tools, "python3", "echo 309")
    put_python(
        begun.tools, "python3.12", "echo 'pyenv: python3.12: command not found' >&2; exit 127"
    )
    put_python(begun.tools, "python3.11", f'exec "{base_python()}" "$@"')
    begun.requires("no-such-thing-of-p2pool")
    done = begun.run(["sh", "-x", "packaging/setup"])
    assert "exec python3.11 packaging/install.py" in done.stderr


def test_a_python_that_cannot_make_environments(checkout: Checkout) -> None:
    """As Debian's without python3-venv, and no right to install it: the package's name."""
    (checkout.path / "ensurepip.py").write_text("raise ImportError\n")
    script = f'PYTHONPATH="{checkout.path}" exec "{base_python()}" "$@"'
    put_python(checkout.tools, "python3", script)
    done = checkout.make("setup")
    fails(done, "cannot make virtual environments", "sudo apt-get install python3.", "make setup")
