"""Do what a stranger does with this checkout, and check what that leaves on the machine.

    python3 .ci/stranger clone PLACE   # clone it, run README's demo, twice
    python3 .ci/stranger wheel PLACE   # build the wheel, install it bare, run its demo

PLACE is a new directory; the clone stays in PLACE/p2pool. Exit code 1 means that something failed
or was left behind: a process, a mount, a network, something in an engine, a directory outside the
clone and the stranger's home, or anything in TMPDIR. With --shared, for a machine where others work
too, paths, mounts and networks that appeared meanwhile are reported and do not count.
"""

import argparse
import os
import re
import shlex
import shutil
import sys
import time
import uuid
from pathlib import Path

import place
import screen
import traces

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 1500.0
MINUTE_S = 60
HELPER_IMAGES = (
    "from p2pool.drivers.containers.docker.images.helper_image import helper_image as image;"
    "[image(f'linux/{one}').archive() for one in ('amd64', 'arm64')]"
)
"""Reads both helper images out of an installed package."""


class Failed(Exception):
    """A stranger would have stopped here; the sentence says where."""


def demo_command(readme: str) -> str:
    """The demo's command as README's "Set up" gives it, word for word."""
    section = re.search(r"^## Set up\n(.*?)^## ", readme, re.MULTILINE | re.DOTALL)
    lines = section[1].splitlines() if section else []
    for line in lines:
        command = line.partition(" #")[0].strip()
        if command.startswith("make ") and "demo" in command:
            return command
    raise Failed("README's section 'Set up' names no command for the demo")


class Stranger:
    """One person's directory on this machine, and the person's actions."""

    def __init__(self, directory: Path, home: str, *, shared: bool) -> None:
        """`home`: its name in `directory`; `shared`: others work on this machine meanwhile."""
        self.shared = shared
        self.directory = directory.resolve()
        self.directory.mkdir(exist_ok=True)
        self.home = self.directory / home
        self.mark = uuid.uuid4().hex
        self.environment = place.environment(self.home, self.mark)

    def does(self, command: str, where: Path) -> None:
        """Run a command; `Failed` if it fails."""
        screen.say(f"in {where}: {command}")
        began = time.monotonic()
        code = screen.watched(command, where, self.environment, LIMIT_S)
        screen.say(f"exit code {code} after {time.monotonic() - began:.0f} s")
        if code != 0:
            traces.end(self.mark, self.directory)
            raise Failed(f"{command!r} failed with exit code {code}")

    def leaves_nothing_by(self, command: str, where: Path) -> None:
        """Run a command that must succeed and leave nothing; `Failed` with what it left."""
        before = traces.Traces.now(self.mark, self.directory)
        known = set(self.directory.iterdir())
        self.does(command, where)
        left, others = before.left(), []
        if self.shared:
            others = [one for one in left if not one.startswith("process ")]
            left = [one for one in left if one not in others]
        temporary = Path(self.environment["TMPDIR"])
        left += [f"path {path}" for path in sorted(set(self.directory.iterdir()) - known)]
        left += [f"path {path}" for path in sorted(temporary.iterdir())]
        if left:
            traces.end(self.mark, self.directory)
            raise Failed("\n     ".join([f"{command!r} left behind:", *left]))
        if others:
            screen.say("\n     ".join(["appeared meanwhile, from somebody else:", *others]))
        kept = ", ".join(sorted(path.name for path in self.home.iterdir())) or "nothing"
        screen.say(f"nothing is left; their home holds {kept}")

    def git(self, command: str, where: Path) -> None:
        """Run a git command, on a checkout that may be somebody else's."""
        trusted = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory",
                   "GIT_CONFIG_VALUE_0": "*"}  # fmt: skip
        self.environment |= trusted
        self.does(f"git {command}", where)
        for name in trusted:
            del self.environment[name]


def clone(directory: Path, *, shared: bool) -> None:
    """Clone, and run the demo twice in the same place."""
    stranger = Stranger(directory, "home", shared=shared)
    command = demo_command((ROOT / "README.md").read_text())
    stranger.git(f"clone --quiet {shlex.quote(str(ROOT))} p2pool", stranger.directory)
    checkout = stranger.directory / "p2pool"
    for _ in range(2):
        stranger.leaves_nothing_by(command, checkout)
    stranger.git("diff --exit-code HEAD", checkout)
    stranger.does('test -z "$(git status --porcelain)"', checkout)


def wheel(directory: Path, *, shared: bool) -> None:
    """Build the wheel, install it where there is no compiler, and run its demo from there."""
    stranger = Stranger(directory, "bare-home", shared=shared)
    python = shlex.quote(sys.executable)
    wheels = stranger.directory / "wheels"
    shutil.copytree(ROOT / "packaging" / "wheels", wheels)
    shutil.copy(ROOT / "requirements.lock", stranger.directory)
    caches = stranger.directory / "home" / ".cache" / "pip"
    stranger.environment |= {"PIP_CACHE_DIR": str(caches), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    pip = f"{python} -m pip"
    checkout = stranger.directory / "p2pool"
    source = checkout if checkout.is_dir() else ROOT
    stranger.does(f"{pip} wheel -q --no-deps -w wheels {shlex.quote(str(source))}", directory)
    stranger.does(f"{python} -m venv bare", directory)
    tools = place.without_compiler(stranger.directory / "tools")
    stranger.environment["PATH"] = f"{stranger.directory}/bare/bin:{tools}"
    built = next(wheels.glob("p2pool-*.whl")).name
    stranger.does("python -m pip install -q --upgrade pip", directory)
    # As docs/operating.md says: each dependency by its hash, then p2pool and nothing else.
    hashed = "python -m pip install -q --require-hashes --only-binary :all:"
    stranger.does(f"{hashed} --find-links wheels -r requirements.lock", directory)
    stranger.does(f"python -m pip install -q --no-deps wheels/{built}", directory)
    stranger.does("python -m pip check", directory)
    stranger.does(f"python -c {shlex.quote(HELPER_IMAGES)}", directory)
    stranger.leaves_nothing_by("p2pool dev demo", stranger.home)


def main() -> int:
    """Run one stage; returns its exit code."""
    parser = argparse.ArgumentParser(prog="stranger", description=__doc__.split("\n")[0])
    parser.add_argument("stage", choices=["clone", "wheel"])
    parser.add_argument("place", type=Path)
    parser.add_argument("--shared", action="store_true", help="others work on this machine too")
    asked = parser.parse_args()
    traces.adopt_orphans()
    os.umask(0o022)
    try:
        stage = {"clone": clone, "wheel": wheel}[asked.stage]
        stage(asked.place.absolute(), shared=asked.shared)
    except Failed as failure:
        screen.say(f"FAILED: {failure}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
