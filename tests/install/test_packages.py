"""System packages are named before they are installed, or else the command to install them is."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.install.checkout import NOBODY, TOOLS, Checkout


def packages(checkout: Checkout, user: int | None = None) -> subprocess.CompletedProcess[str]:
    """Ask for what the tests need, on a machine that has nothing of it."""
    return checkout.run([str(checkout.tools / "bash"), ".ci/packages", "test"], user)


def put(checkout: Checkout, name: str, script: str) -> None:
    """Put a program on the PATH."""
    program = checkout.tools / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.fixture
def bare(checkout: Checkout) -> Checkout:
    """Without /usr/sbin, where an engine may lie; and open to everybody."""
    script = checkout.path / ".ci" / "packages"
    script.write_text(script.read_text().replace(":/usr/sbin:/sbin", ""))
    checkout.open_to_all()
    return checkout


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes somebody else")
def test_without_root_the_command_is_said_and_things_go_on(bare: Checkout) -> None:
    """Tests that need none of it can run."""
    put(bare, "apt-get", "echo must not be called; exit 1")
    done = packages(bare, NOBODY)
    assert done.returncode == 0, done.stderr
    assert "install them with: sudo apt-get install docker.io" in done.stdout
    assert "must not be called" not in done.stdout


def test_where_there_is_no_apt_get_they_are_named(bare: Checkout) -> None:
    """Another distribution calls them by other names."""
    assert "apt-get" not in TOOLS
    done = packages(bare)
    assert done.returncode == 0, done.stderr
    assert "docker.io" in done.stdout
    assert "their equivalents here" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="apt-get is called by root only")
def test_what_apt_get_cannot_do_is_one_line_and_a_command(bare: Checkout, tmp_path: Path) -> None:
    """Its own words are kept in a file, whose name is said."""
    put(bare, "apt-get", "echo 'W: much'; echo 'E: Could not resolve deb.debian.org' >&2; exit 100")
    done = packages(bare)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("installing system packages: docker.io")
    assert lines[1] == "the packages could not be installed: E: Could not resolve deb.debian.org"
    assert "sudo apt-get install docker.io" in lines[2]
    said = Path(lines[2].split(" is in ")[1].partition(";")[0])
    assert "W: much" in said.read_text()
    said.unlink()
