"""The first program of copies with secret variables: what is in the package is what its source
makes, for each processor, and it needs nothing of an image."""

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from p2pool.drivers.containers.docker.secrets.contents import init_program

RECIPE = Path(__file__).resolve().parents[2] / "helper" / "init.py"
MACHINES = {"linux/amd64": 62, "linux/arm64": 183}
LOADED, INTERPRETER, STACK, EXECUTABLE, WRITABLE = 1, 3, 0x6474E551, 1, 2


@pytest.mark.parametrize("platform", MACHINES)
def test_it_is_one_static_program_of_that_processor(platform: str) -> None:
    """No loader, no library, no page that is both written and run, and small enough to read."""
    data = init_program(platform)
    assert data[:7] == b"\x7fELF\x02\x01\x01"
    assert len(data) < 4096
    machine, _, _, offset, _, _, _, size, count = struct.unpack_from("<HIQQQIHHH", data, 18)
    assert machine == MACHINES[platform]
    headers = [struct.unpack_from("<II", data, offset + size * one) for one in range(count)]
    kinds = [kind for kind, _ in headers]
    assert LOADED in kinds
    assert INTERPRETER not in kinds
    assert not [f for _, f in headers if f & EXECUTABLE and f & WRITABLE]


def test_it_is_what_its_source_makes() -> None:
    """Byte for byte, where the compilers are."""
    compilers = [shutil.which(f"{one}-linux-gnu-gcc") for one in ("x86_64", "aarch64")]
    if None in compilers:
        assert os.environ.get("CI") != "true", "a clean machine has both compilers"
        pytest.skip("apt-get install gcc-x86-64-linux-gnu gcc-aarch64-linux-gnu")
    done = subprocess.run([sys.executable, str(RECIPE), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
