"""Makes `.venv` and installs p2pool into it, reporting progress.

`packaging/setup` starts this with a Python that is new enough. A stamp in `.venv` records its
directory, Python and requirements; while they match there is nothing to do. An environment made
elsewhere, by a Python that is gone, or only half made, is made again: its scripts and its path to
p2pool are absolute, and a package cut short looks installed to pip.

pip's own output goes to `.venv/install.log`. A failure is a sentence, a command, and the log's
path.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote
from types import MappingProxyType

from causes import Cause, cause_of, free_files, of_error
from progress import Progress, follow
from settings import Unreadable, settings_of

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "p2pool.json"
BEGUN = VENV / "begun"
LOG = VENV / "install.log"
PYTHON = VENV / "bin" / "python"
WHEELS = ROOT / "packaging" / "wheels"
LOCK = ROOT / "requirements.lock"
LOCKED_PYTHONS = ((3, 11), (3, 13))
LOCKED_MACHINES = ("x86_64", "aarch64")
SIZE_BYTES = 550 * 1024 * 1024
"""The size of a complete environment, with room for what pip unpacks on the way."""
FILES = 22_000
"""Its approximate number of files and directories."""
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
PIP_WANTED = (25, 1)
"""Older versions take twice as long to resolve dependencies."""
MISLEADING = (
    "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "PYTHONWARNINGS", "__PYVENV_LAUNCHER__",
)  # fmt: skip
"""Variables that make Python look elsewhere, take longer, or stop at a warning."""


class Failed(Exception):
    """The installation cannot go on; why, and what to do."""

    def __init__(self, cause: Cause, log: bool = False) -> None:
        super().__init__(cause.sentence)
        self.cause, self.log = cause, log


def base_python() -> str:
    """The interpreter behind this one, which may itself belong to a virtual environment."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def source_digest() -> str:
    """A digest of the environment's sources: the requirements, their hashes, and our wheels.

    pyproject.toml also has tool settings, which do not change what is installed.
    """
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8", errors="replace")
    with contextlib.suppress(tomllib.TOMLDecodeError):
        told = tomllib.loads(text)
        parts = [told.get("build-system"), told.get("project"), told.get("tool", {}).get("hatch")]
        text = json.dumps(parts, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode())
    if LOCK.exists():
        digest.update(LOCK.read_bytes())
    for wheel in sorted(WHEELS.glob("*.whl")):
        digest.update(wheel.name.encode() + b"\0" + wheel.read_bytes())
    return digest.hexdigest()


def stamp(extras: list[str]) -> dict[str, object]:
    """The facts about an environment that this program has made here."""
    return {"place": str(VENV), "source": source_digest(), "extras": extras}


def read_stamp() -> dict[str, object]:
    """The environment's stamp; empty without one."""
    try:
        told = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def version_of_venv() -> tuple[int, int] | None:
    """The version of the Python in `.venv`; None if it does not run."""
    ask = "import sys; print(*sys.version_info[:2])"
    with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
        done = subprocess.run(
            [PYTHON, "-I", "-c", ask], capture_output=True, text=True, check=False, timeout=60
        )
        major, minor = done.stdout.split()
        return int(major), int(minor)
    return None


def has_pip() -> bool:
    """Whether the environment's Python can run pip; uv makes environments without one."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        ask = [str(PYTHON), "-I", "-c", "import pip._internal.cli.main"]
        return subprocess.run(ask, capture_output=True, check=False, timeout=60).returncode == 0
    return False


def is_done(extras: list[str], chosen: bool) -> bool:
    """Whether the environment already is as requested. Costs next to nothing."""
    made = read_stamp()
    now = stamp([])
    with_extras = made.get("extras")
    if not isinstance(with_extras, list) or BEGUN.exists() or not PYTHON.exists():
        return False
    if any(made.get(name) != now[name] for name in ("place", "source")):
        return False
    if chosen and version_of_venv() != sys.version_info[:2]:
        return False
    return set(extras) <= set(with_extras)


def why_anew(chosen: bool) -> str | None:
    """Why the existing environment cannot be used; None if it can, or if there is none."""
    if not VENV.exists() and not VENV.is_symlink():
        return None
    if not VENV.is_dir():
        return ".venv is not a directory"
    if BEGUN.exists():
        return "the last installation was interrupted"
    made = read_stamp()
    if made and made.get("place") != str(VENV):
        return f"it was made for {Path(str(made.get('place'))).parent}"
    version = version_of_venv()
    if version is None:
        return "its Python no longer runs"
    if version < (3, 11):
        return f"its Python is {version[0]}.{version[1]}"
    if chosen and version != sys.version_info[:2]:
        return f"its Python is {version[0]}.{version[1]}, and another was asked for"
    if not has_pip():
        return "it has no pip"
    return None


def check_room(needed_bytes: int, needed_files: int) -> None:
    """Raise `Failed` if the disk has too little room for an environment, or for its files."""
    free_bytes = shutil.disk_usage(ROOT).free
    if free_bytes < needed_bytes:
        raise Failed(
            Cause(
                f"the disk of {ROOT} has {free_bytes // 1024**2} MiB free, "
                f"and an installation takes {needed_bytes // 1024**2} MiB",
                f"make room on it (df -h {quote(str(ROOT))} shows the disk)",
            )
        )
    free = free_files(ROOT)
    if free is not None and free < needed_files:
        raise Failed(
            Cause(
                f"the disk of {ROOT} takes {free} more files, "
                f"and an installation has {needed_files}",
                f"remove files from it (df -i {quote(str(ROOT))} shows how many it takes)",
            )
        )


def make_venv(progress: Progress, reason: str | None) -> None:
    """Make `.venv`, unless it exists; `reason` says why an existing one is made again."""
    if reason is not None:
        progress.line(f"making .venv again: {reason}")
        if VENV.is_symlink() or not VENV.is_dir():
            VENV.unlink()
        else:
            shutil.rmtree(VENV)
    fresh = not VENV.exists()
    if fresh:
        check_room(SIZE_BYTES, FILES)
    VENV.mkdir(exist_ok=True)
    BEGUN.touch()
    if fresh:
        version = ".".join(map(str, sys.version_info[:3]))
        progress.phase(f"making a virtual environment with Python {version}")
        run(progress, [base_python(), "-m", "venv", str(VENV)])


def surroundings() -> dict[str, str]:
    """The caller's environment without variables that mislead Python."""
    return {name: value for name, value in os.environ.items() if name not in MISLEADING}


def environment(temporary: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """The environment for pip, with these settings of its user and no others."""
    kept = {name: value for name, value in surroundings().items() if not name.startswith("PIP_")}
    return {
        **kept,
        **settings,
        "TMPDIR": str(temporary),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_COLOR": "1",
        "PIP_NO_INPUT": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        # File names are bytes: without UTF-8 mode the locale's encoding may change them between
        # reading and writing, and the environment's programs name a Python that does not exist.
        "PYTHONUTF8": "1",
    }


def run(progress: Progress, command: list[str], settings: Mapping[str, str] = NO_SETTINGS) -> None:
    """Run a step with its output in the log; `Failed` with the cause if it fails.

    A pip that fails before it installs anything leaves the environment as it was.
    """
    # A directory of its own, because a killed pip leaves what it unpacked.
    with tempfile.TemporaryDirectory(prefix="p2pool-pip-", ignore_cleanup_errors=True) as name:
        code, told = follow(command, ROOT, environment(Path(name), settings), LOG, progress)
    if code != 0:
        if "pip" in command and "Installing collected packages" not in told:
            BEGUN.unlink(missing_ok=True)
        # pip does not say that it was told to ask no registry.
        told = f"PIP_NO_INDEX={settings.get('PIP_NO_INDEX', '0')}\n{told}"
        raise Failed(cause_of(told, code, [ROOT, Path(tempfile.gettempdir())]), log=True)


def pip_version() -> tuple[int, ...]:
    """The version of pip in the environment."""
    found = sorted(VENV.glob("lib/python3*/site-packages/pip-*.dist-info"))
    if not found:
        return (0,)
    words = found[-1].name.removeprefix("pip-").removesuffix(".dist-info").split(".")
    return tuple(int(word) for word in words if word.isdigit())


def pip_settings(progress: Progress) -> dict[str, str]:
    """pip's settings that hold here, as variables; reports the ones that do not."""
    try:
        kept, left_out = settings_of(PYTHON, surroundings())
    except Unreadable as error:
        BEGUN.unlink(missing_ok=True)
        raise Failed(error.cause) from error
    if left_out:
        progress.line(f"not used here, of your settings of pip: {', '.join(left_out)}")
    return kept


def name_relatively() -> None:
    """Make the environment name this directory by a relative path, which is ASCII.

    Python 3.11 and 3.12 read the `.pth` file in the locale's encoding, even in UTF-8 mode: with
    LC_ALL=C, no Python would start in an environment whose directory has an umlaut.
    """
    for path in VENV.glob("lib/python3*/site-packages/*p2pool.pth"):
        path.write_text(os.path.relpath(ROOT, path.parent) + "\n", encoding="ascii")


def check_whole(extras: list[str]) -> None:
    """Raise `Failed` if the environment lacks something, whatever pip said."""
    done = subprocess.run(
        [str(PYTHON), "-I", str(ROOT / "packaging" / "whole.py"), str(ROOT), *extras],
        env=surroundings(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        lines = (done.stdout or done.stderr).strip().splitlines() or ["it cannot be inspected"]
        raise Failed(
            Cause(
                f"pip reported success, but the environment is incomplete: {lines[-1]}",
                f"check pip's settings ({quote(str(PYTHON))} -m pip config debug)",
            ),
            log=True,
        )


def why_unlocked() -> str | None:
    """Why the environment's packages cannot be those that the lock names; None if they can."""
    (first, last), version = LOCKED_PYTHONS, version_of_venv()
    if version is not None and not first <= version <= last:
        return f"it is for Python 3.{first[1]} to 3.{last[1]}, and this is 3.{version[1]}"
    here = f"{platform.system()} on {platform.machine()}"
    if platform.system() != "Linux" or platform.machine() not in LOCKED_MACHINES:
        return f"it is for Linux on {' and '.join(LOCKED_MACHINES)}, and this is {here}"
    return None


def install(progress: Progress, extras: list[str]) -> None:
    """Install p2pool and its requirements into `.venv`."""
    pip = [str(PYTHON), "-m", "pip", "install"]
    settings = pip_settings(progress)
    if pip_version() < PIP_WANTED:
        progress.phase("fetching a newer pip")
        newer = ".".join(map(str, PIP_WANTED))
        try:
            run(progress, [*pip, "--retries", "1", "--upgrade", f"pip>={newer}"], settings)
        except Failed as failure:
            if not failure.cause.absent:
                raise
            BEGUN.touch()
            progress.line("there is none; Python's own pip will do")
    wanted = f".[{','.join(extras)}]" if extras else "."
    progress.phase("asking the registry what p2pool requires")
    links = ["--find-links", str(WHEELS.relative_to(ROOT))]
    command = [*pip, "--retries", "3", "--prefer-binary", *links]
    if LOCK.exists():
        if (why := why_unlocked()) is None:
            run(progress, [*command, "--require-hashes", "-r", LOCK.name], settings)
            BEGUN.touch()
        else:
            progress.line(f"{LOCK.name} is not used: {why}")
    run(progress, [*command, "--editable", wanted], settings)
    name_relatively()
    check_whole(extras)
    # libp2p brings trio_typing, whose stubs of an old trio hide trio's own types from mypy.
    for stubs in VENV.glob("lib/python3*/site-packages/trio-stubs"):
        shutil.rmtree(stubs)


@contextlib.contextmanager
def alone(progress: Progress) -> Iterator[None]:
    """Hold off another installation in the same directory; wait for a running one."""
    directory = os.open(ROOT / "packaging", os.O_RDONLY)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.line("another installation is running in this directory: waiting for it")
            fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def installed_count() -> int:
    """The number of packages in the environment."""
    return len(list(VENV.glob("lib/python3*/site-packages/*.dist-info")))


def bring_about(extras: list[str], chosen: bool, progress: Progress) -> None:
    """Install the requested environment, unless it exists."""
    if is_done(extras, chosen):
        return
    with alone(progress):
        if is_done(extras, chosen):
            return
        reason = why_anew(chosen)
        there = read_stamp().get("extras") if reason is None else None
        if isinstance(there, list):
            extras = sorted({*extras, *map(str, there)})
        make_venv(progress, reason)
        install(progress, extras)
        STAMP.write_text(json.dumps(stamp(extras)) + "\n")
        BEGUN.unlink()
        progress.end(f"p2pool is installed in .venv, with {installed_count() - 1} packages")


def main() -> int:
    """Install; returns the exit code."""
    parser = argparse.ArgumentParser(prog="packaging/setup")
    parser.add_argument("--dev", action="store_true", help="with the packages that the tests need")
    parser.add_argument("--chosen", action="store_true", help="this Python was asked for")
    parser.add_argument("--again", default="make setup", help="the command to name in a failure")
    asked = parser.parse_args()
    progress = Progress()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        bring_about(["dev"] if asked.dev else [], asked.chosen, progress)
    except KeyboardInterrupt:
        progress.fail("the installation was interrupted", f"go on with: {asked.again}")
        return 130
    except Failed as failure:
        log = f"; what pip said: {LOG}" if failure.log and LOG.exists() else ""
        progress.fail(
            f"the installation failed: {failure.cause.sentence}",
            f"{failure.cause.command}, then: {asked.again}{log}",
        )
        return 1
    except OSError as error:
        cause = of_error(error, ROOT)
        progress.fail(
            f"the installation failed: {cause.sentence}", f"{cause.command}, then: {asked.again}"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
