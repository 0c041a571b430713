"""A checkout in small: our Makefile, `packaging` and `.ci`, and a p2pool that requires two wheels.

An installation of it is a real one, by real pip into a real environment, and takes seconds. Its
backend is a file of its own that needs nothing, and its wheels lie in the directory, so that no
registry is asked unless a test wants it.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 300
NOBODY = 65534
TOOLS = (
    "sh", "bash", "env", "make", "cat", "id", "dirname", "mktemp", "uname", "rm", "grep", "head",
    "sed", "expand", "sleep", "true", "ls",
)  # fmt: skip
"""What a machine has at the least: no git, no compiler, no apt-get, no Python."""

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "p2pool"
version = "0.1.0"
"""
BACKEND = '''
"""A backend that needs nothing: an editable wheel is a path, and what it requires."""

import base64, hashlib, os, zipfile

REQUIRED = {required!r}
EXTRA = {extra!r}


def get_requires_for_build_editable(settings=None):
    return []


def build_editable(directory, settings=None, metadata=None):
    info = "p2pool-0.1.0.dist-info"
    lines = ["Metadata-Version: 2.1", "Name: p2pool", "Version: 0.1.0", "Provides-Extra: dev"]
    lines += [f"Requires-Dist: {{one}}" for one in REQUIRED]
    lines += [f'Requires-Dist: {{one}}; extra == "dev"' for one in EXTRA]
    files = {{
        "_p2pool.pth": os.getcwd(),
        f"{{info}}/METADATA": "\\n".join(lines) + "\\n",
        f"{{info}}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{{info}}/entry_points.txt": "[console_scripts]\\np2pool = p2pool:main\\n",
    }}
    name = "p2pool-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        record = "".join(f"{{path}},,\\n" for path in files) + f"{{info}}/RECORD,,\\n"
        wheel.writestr(f"{{info}}/RECORD", record)
    return name
'''
PACKAGE = """
def main():
    print("p2pool runs")
    return 0
"""


@attrs.frozen
class Checkout:
    """A directory that `make setup` works in, and the environment to run it with."""

    path: Path
    tools: Path
    environment: dict[str, str]

    @property
    def venv(self) -> Path:
        """Its environment."""
        return self.path / ".venv"

    @property
    def python(self) -> Path:
        """The Python of its environment."""
        return self.venv / "bin" / "python"

    def requires(self, *names: str, extra: Sequence[str] = ()) -> None:
        """Set what its p2pool requires; as a change of pyproject.toml."""
        text = BACKEND.format(required=list(names), extra=list(extra))
        (self.path / "backend.py").write_text(text)
        (self.path / "pyproject.toml").write_text(
            f"{PYPROJECT}keywords = {json.dumps([*names, *extra])}\n"
        )

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run make in it. A variable with an empty value is unset."""
        return self.run(["make", *arguments], None, **environment)

    def run(
        self, command: Sequence[str], user: int | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it; as somebody else, if `user` is given."""
        return subprocess.run(
            command,
            cwd=self.path,
            env=self.with_environment(**environment),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE_S,
            check=False,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )

    def open_to_all(self) -> None:
        """Let everybody reach and read it; pytest's directories are their maker's alone."""
        for directory in self.path.parents:
            if directory.stat().st_uid == os.getuid() and directory != Path("/"):
                directory.chmod(directory.stat().st_mode | 0o011)

    def with_environment(self, **changes: str) -> dict[str, str]:
        """Its environment with changes; an empty value unsets."""
        told = {**self.environment, **changes}
        return {name: value for name, value in told.items() if value}

    def takes(self, venv: Path) -> None:
        """Have a copy of a virtual environment that nothing is installed in."""
        shutil.copytree(venv, self.venv, symlinks=True)

    def packages(self) -> set[str]:
        """The names of the distributions in its environment."""
        found = self.venv.glob("lib/python3*/site-packages/*.dist-info")
        return {path.name.partition("-")[0] for path in found}


def lay_out(path: Path, tools: Path) -> Checkout:
    """Make a checkout in small at `path`, and at `tools` the programs of its machine."""
    path.mkdir(parents=True)
    for name in ("packaging", ".ci"):
        shutil.copytree(ROOT / name, path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Makefile", path)
    (path / "p2pool.py").write_text(PACKAGE)
    tools.mkdir(exist_ok=True)
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None, name
        (tools / name).symlink_to(found)
    put_python(tools, "python3", f'exec "{base_python()}" "$@"')
    made = Checkout(
        path, tools, {"PATH": str(tools), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    )
    made.requires("varint")
    return made


def base_python() -> str:
    """The Python behind the one that runs the tests."""
    return str(sys._base_executable)  # type: ignore[attr-defined]


def put_python(tools: Path, name: str, script: str) -> None:
    """Put a Python on the PATH that does as `script` says."""
    program = tools / name
    program.unlink(missing_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def put_wheel(directory: Path, name: str, files: Mapping[str, bytes]) -> Path:
    """Make a wheel of version 1.0 with these files; they compress well."""
    info = f"{name}-1.0.dist-info"
    told = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = directory / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for inside, data in told.items():
            wheel.writestr(inside, data)
        wheel.writestr(f"{info}/RECORD", "".join(f"{one},,\n" for one in [*told, f"{info}/RECORD"]))
    return path


def machine_settings() -> dict[str, str]:
    """How package tools reach their registry from this machine."""
    names = ("PIP_CERT", "PIP_INDEX_URL", "SSL_CERT_FILE", "https_proxy", "HTTPS_PROXY")
    return {name: os.environ[name] for name in names if name in os.environ}
