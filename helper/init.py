"""Builds the first program of copies with secret variables: one static file for each processor.

    python helper/init.py [--check]

It compiles `init.c`, which uses no library, with Debian's compilers (packages gcc-x86-64-linux-gnu
and gcc-aarch64-linux-gnu) into `p2pool/images`. One version of a compiler makes the same bytes
again everywhere, so `--check` compiles anew and compares.

Invariant: nothing is compared, or written, that another compiler than the one below made.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "init.c"
IMAGES = HERE.parent / "p2pool" / "images"
COMPILER = "(Debian 12.2.0-14) 12.2.0", "(Debian 12.2.0-14+deb12u1) 12.2.0"
TRIPLES = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
FLAGS = (
    *("-std=c11", "-Wall", "-Wextra", "-Werror", "-Os", "-ffreestanding", "-fno-builtin"),
    *("-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-fno-pie", "-no-pie"),
    *("-static", "-nostdlib", "-s", "-Wl,--build-id=none"),
    "-Wl,-z,noexecstack,-z,norelro,-z,noseparate-code",
)


class Failed(Exception):
    """It cannot be built; the sentence says why."""


def built(architecture: str) -> bytes:
    """The program for one processor."""
    name = f"{TRIPLES[architecture]}-gcc"
    compiler = shutil.which(name)
    if compiler is None:
        package = name.replace("_", "-").removesuffix("-gcc")
        raise Failed(f"There is no {name}: apt-get install gcc-{package}.")
    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    version = said.stdout.partition("\n")[0].partition(" ")[2]
    if version not in COMPILER:
        raise Failed(f"{name} is {version}; the same bytes come from {' or '.join(COMPILER)}.")
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory) / "init"
        # The name of the source stands in no byte of the result; its directory neither.
        done = subprocess.run(
            [compiler, *FLAGS, "-o", str(made), SOURCE.name],
            cwd=HERE,
            capture_output=True,
            text=True,
        )
        if done.returncode or done.stderr:
            raise Failed(f"{name}: {done.stderr.strip()}")
        return made.read_bytes()


def build(*, check: bool) -> None:
    """Build all processors' programs, and write them or compare them."""
    for architecture in TRIPLES:
        file, data = IMAGES / f"init-{architecture}", built(architecture)
        if not check:
            file.write_bytes(data)
            print(f"{file.name}: {len(data)} bytes")
        elif file.read_bytes() != data:
            raise Failed(f"Built again, {file.name} differs.")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    given = parser.parse_args()
    try:
        build(check=given.check)
    except Failed as failed:
        print(f"error: {failed}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
