"""A checkout in small for each test, in a directory that a path could well have."""

import subprocess
from pathlib import Path

import pytest

from tests.install.checkout import Checkout, base_python, lay_out


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Not installed yet; its path holds spaces, an umlaut, and what shells and URLs mind."""
    return lay_out(tmp_path / "Größe & 'mehr' #2 %41" / "p2pool", tmp_path / "tools")


@pytest.fixture(scope="session")
def bare_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with nothing in it, to be copied: to make one costs seconds."""
    path = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([base_python(), "-m", "venv", str(path)], check=True)
    return path


@pytest.fixture
def begun(checkout: Checkout, bare_venv: Path) -> Checkout:
    """A checkout whose environment somebody has made, and nothing is installed in it yet."""
    checkout.takes(bare_venv)
    return checkout
