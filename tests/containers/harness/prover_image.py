"""An image of the reference prover, made of the Python that runs the tests: no registry is needed.

The Python is asked to serve one request of each kind, and says which modules it has loaded then:
these go in, with the libraries that they are linked to, and no others. Files of the standard
library stay where this Python looks for them; NumPy and the prover come into one folder, wherever
they are here.

    image = make_prover_image(client)      # once per engine: then it is found
    image.digest                           # "sha256:...", by which the engine runs it too
    make_prover_image(client, "--devices", "2", "--memory-bytes", "1048576")    # another one
    make_cheat_image(client, image, "fakes", "2")    # a layer on it: `cheating_prover`
"""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from docker.errors import ImageNotFound

REPOSITORY = "p2pool-test/prover"
ROOT = Path(__file__).resolve().parents[3]
PACKAGES = "opt"
"""The folder of NumPy and the prover, in the image."""
NOBODY = 65_534

SERVED = """
import json, runpy, sys, traceback
import prover.__main__
prover.__main__.main()
files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
print(json.dumps([file for file in files if file]), file=sys.stderr)
"""
"""Serves, then says of which files."""
SIZES: dict[str, dict[str, Any]] = {
    "load": {"inner": 64, "columns": 8},
    "multiply": {"products": 1, "rows": 8},
    "rows": {"wanted": [[0, 1]]},
    "fill": {"blocks": 4, "block_bytes": 1024, "repeats": 1},
    "scan": {"passes": 1},
    "blocks": {"wanted": [[0, 1]]},
}


class ProverImage(NamedTuple):
    """An image on an engine. `digest`: the engine's identifier of it, which no other image has."""

    name: str
    digest: str


def make_prover_image(client: Any, *arguments: str) -> ProverImage:
    """The image on the engine of a `docker.APIClient`, made if it is not there yet. `arguments`:
    more for the prover, such as how many devices it counts as."""
    archive, python = _archive()
    changes = _settings(python, arguments)
    tag = sha256(archive + json.dumps(changes).encode()).hexdigest()[:12]
    name = f"{REPOSITORY}:{tag}"
    try:
        record = client.inspect_image(name)
    except ImageNotFound:
        client.import_image_from_data(archive, repository=REPOSITORY, tag=tag, changes=changes)
        record = client.inspect_image(name)
    return ProverImage(name, str(record["Id"]))


def make_cheat_image(client: Any, honest: ProverImage, *arguments: str) -> ProverImage:
    """An image whose prover cheats, as `cheating_prover` with these arguments does."""
    source = Path(__file__).with_name("cheating_prover.py")
    entry = client.inspect_image(honest.digest)["Config"]["Entrypoint"]
    changes = [
        f"ENTRYPOINT {json.dumps([*entry[:-1], source.stem])}",
        f"CMD {json.dumps(list(arguments))}",
    ]
    made, content = io.BytesIO(), source.read_bytes()
    with tarfile.open(fileobj=made, mode="w") as tar:
        tar.addfile(_entry(source.name, tarfile.REGTYPE, len(content)), io.BytesIO(content))
    container = client.create_container(honest.digest)["Id"]
    try:
        client.put_archive(container, f"/{PACKAGES}", made.getvalue())
        tag = "-".join(("cheat", *arguments))
        client.commit(container, repository=REPOSITORY, tag=tag, changes=changes)
    finally:
        client.remove_container(container)
    name = f"{REPOSITORY}:{tag}"
    return ProverImage(name, str(client.inspect_image(name)["Id"]))


def _settings(python: str, arguments: tuple[str, ...]) -> list[str]:
    return [
        f"ENTRYPOINT {json.dumps([python, '-S', '-B', '-m', 'prover'])}",
        f"CMD {json.dumps(['--on', 'cpu', *arguments])}",
        f"ENV PYTHONPATH=/{PACKAGES} PYTHONUNBUFFERED=1 OPENBLAS_NUM_THREADS=1",
        f"USER {NOBODY}:{NOBODY}",
    ]


@cache
def _archive() -> tuple[bytes, str]:
    """The image's files as a tar, and where Python is in it. The same files give the same bytes."""
    packages = _packages()
    python = Path(os.path.realpath(sys.executable))
    loaded = [Path(file) for file in _loaded(python, packages)]
    programs = [python, *(file for file in loaded if file.suffix == ".so")]
    files = {_place(file, packages): file for file in (python, *loaded, *_linked(programs))}
    # Where there is none, Python warns that it does not know where its own modules are.
    parts = {(Path(json.__file__).parent.parent / "lib-dynload").as_posix(), "/tmp"}
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for folder in sorted(parts | _above(set(files) | parts)):
            tar.addfile(_entry(folder, tarfile.DIRTYPE, 0))
        for place in sorted(files):
            content = files[place].read_bytes()
            tar.addfile(_entry(place, tarfile.REGTYPE, len(content)), io.BytesIO(content))
    return made.getvalue(), python.as_posix()


def _packages() -> dict[Path, str]:
    """The folders whose files move, and where to."""
    numpy = pytest.importorskip("numpy", reason="the reference prover needs NumPy")
    return {Path(numpy.__file__).parents[1]: f"/{PACKAGES}", ROOT: f"/{PACKAGES}"}


def _loaded(python: Path, packages: dict[Path, str]) -> list[str]:
    """The modules of a Python that has served one request of each kind, and one that is none."""
    asked: list[dict[str, Any]] = [{"id": 0, "op": "devices"}, {}]
    for operation, sizes in SIZES.items():
        shares = [{"device": 0, "seed": "11" * 32, **sizes}]
        asked.append({"id": len(asked), "op": operation, "shares": shares})
    asked.append({"id": len(asked), "op": "release", "shares": [{"device": 0}]})
    ran = subprocess.run(
        [python, "-S", "-B", "-c", SERVED],
        input="".join(f"{json.dumps(one)}\n" for one in asked),
        env={"PYTHONPATH": ":".join(map(str, packages)), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    failed = [one["id"] for one in answers if "error" in one]
    assert (ran.returncode, failed) == (0, [None]), f"no prover: {ran.stderr} {ran.stdout}"
    files: list[str] = json.loads(ran.stderr.splitlines()[-1])
    return files


def _linked(programs: list[Path]) -> set[Path]:
    """The loader and libraries of programs, by the names under which they are looked for."""
    ran = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True)
    found = re.findall(r"^\s+(?:\S+ => )?(/.*) \(0x[0-9a-f]+\)$", ran.stdout, re.MULTILINE)
    return {Path(os.path.normpath(one)) for one in found}


def _place(file: Path, packages: dict[Path, str]) -> str:
    """Where a file goes: into the folder of packages if it comes from one, else where it is."""
    for folder, to in packages.items():
        if file.is_relative_to(folder):
            return f"{to}/{file.relative_to(folder).as_posix()}"
    return file.as_posix()


def _above(places: set[str]) -> set[str]:
    return {parent.as_posix() for place in places for parent in Path(place).parents} - {"/"}


def _entry(place: str, kind: bytes, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(place.lstrip("/"))
    entry.type, entry.size = kind, size
    entry.mode = 0o1777 if place == "/tmp" else 0o755
    return entry
