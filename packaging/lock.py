"""Writes requirements.lock: every dependency of p2pool, by version and by the hashes of its files.

    make lock               # what is locked stays, unless pyproject.toml no longer takes it
    make lock UPGRADE=1     # the newest version of everything

uv resolves it once for all Pythons and machines that pyproject.toml names under [tool.uv], from
PyPI and `packaging/wheels`. It comes from PyPI too, in this one version, into a directory that goes
again. pip's variables say where PyPI is, if it is elsewhere.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
UV = "uv==0.13.9"
COMPILE = (
    "pip", "compile", "pyproject.toml", "--universal", "--python-version", "3.11",
    "--generate-hashes", "--emit-find-links", "--find-links", "packaging/wheels", "--no-progress",
    "--quiet", "--custom-compile-command", "make lock", "--output-file", LOCK.name,
)  # fmt: skip


def surroundings() -> dict[str, str]:
    """The environment for uv, which reads none of pip's variables."""
    told = dict(os.environ)
    for ours, pips in (("SSL_CERT_FILE", "PIP_CERT"), ("UV_DEFAULT_INDEX", "PIP_INDEX_URL")):
        if pips in told:
            told.setdefault(ours, told[pips])
    return told


def main() -> int:
    """Write the lock; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make lock")
    parser.add_argument("--upgrade", action="store_true", help="take the newest of everything")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="p2pool-lock-") as place:
        venv.create(place, with_pip=True)
        python = Path(place) / "bin" / "python"
        done = subprocess.run([python, "-m", "pip", "install", "-q", UV], check=False)
        if done.returncode == 0:
            more = ["--upgrade"] if asked.upgrade else []
            uv = [f"{place}/bin/uv", *COMPILE, *more]
            done = subprocess.run(uv, cwd=ROOT, env=surroundings(), check=False)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
