"""The anvil binary: from PATH, from the cache, or fetched; in any case one that runs.

Intuition: npm's platform package contains the native binary, which needs no node to run, so we keep
only the binary. It is fetched into a scratch directory and renamed into place in one step: a killed
fetch leaves nothing that looks complete, and concurrent fetches do not collide.

Invariants: the returned binary has printed its version on this machine; one that does not run is
removed.
"""

import errno
import fcntl
import os
import platform
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from p2pool.dev.chain.fetch.command import run_command
from p2pool.dev.chain.fetch.npm import install, no_space, npm_command
from p2pool.dev.narrator import Say
from p2pool.dev.places import free_bytes, user_cache
from p2pool.model.errors import Misconfigured, Unavailable

VERSION = "1.7.1"
NAME = "anvil"
SCRATCH = ".fetch-"
CHECK_DEADLINE_S = 60
# A scratch directory without a holder, once it is this old, is left over from a killed process.
SCRATCH_AGE_S = 60.0
ROOM_BYTES = 150_000_000
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
BY_HAND = "Or put anvil on PATH: curl -L https://foundry.paradigm.xyz | bash && foundryup"


async def find_anvil(say: Say, spare: Path) -> Path:
    """An anvil that runs here; fetched if this machine has none.

    `spare`: a directory to keep it in if the user's cache cannot be used. Raises `DiskFull`,
    `Unavailable` or `Misconfigured`, with the command to run, if there is no way to get one.
    """
    on_path = shutil.which(NAME)
    if on_path is not None:
        broken = await _why_broken(Path(on_path))
        if not broken:
            return Path(on_path)
        say(f"{on_path} does not run: {broken}")
    unfit = ""
    for place in (user_cache("anvil", VERSION), spare):
        binary = place / NAME if place is not None else None
        if place is None or binary is None:
            continue
        # Not Path.exists, which raises if the path may not be searched.
        if os.path.exists(binary):
            broken = await _why_broken(binary)
            if not broken:
                return binary
            say(f"{binary} does not run: {broken}")
        why = _why_unfit(place)
        if not why:
            await _fetch(binary, say)
            return binary
        unfit += f"{place}: {why}. "
        say(f"anvil cannot be kept in {place}: {why}")
    raise Misconfigured(
        f"There is no directory to keep anvil in. {unfit}".rstrip(),
        hint="Set XDG_CACHE_HOME to a directory where programs can be written and run.",
    )


def _why_unfit(place: Path) -> str:
    """Why a program cannot be written and run there; empty if it can."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        if os.statvfs(place).f_flag & os.ST_NOEXEC:
            return "its file system lets no program run (mounted noexec)"
        with tempfile.NamedTemporaryFile(dir=place, prefix=SCRATCH):
            return ""
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(place, ROOM_BYTES) from error
        return error.strerror or str(error)


async def _fetch(binary: Path, say: Say) -> None:
    """Fetch anvil from npm to `binary`."""
    machine = MACHINES.get(platform.machine(), platform.machine())
    package = f"@foundry-rs/anvil-{platform.system().lower()}-{machine}"
    place = binary.parent
    if free_bytes(place) < ROOM_BYTES:
        raise no_space(place, ROOM_BYTES)
    try:
        with _scratch_in(place) as scratch:
            say(f"fetching anvil {VERSION} from npm into {place} (about 20 MB)")
            npm = await npm_command(scratch, say, BY_HAND)
            await install(npm, f"{package}@{VERSION}", scratch, say, BY_HAND)
            fetched = scratch / "node_modules" / package / "bin" / NAME
            broken = await _why_broken(fetched)
            if broken:
                raise Misconfigured(
                    f"The anvil that npm has for this machine does not run here: {broken}.",
                    hint=f"Build it for this machine. {BY_HAND}",
                )
            fetched.replace(binary)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(place, ROOM_BYTES) from error
        raise Unavailable(
            f"anvil cannot be written to {place}: {error.strerror}.", hint=BY_HAND
        ) from error


@contextmanager
def _scratch_in(place: Path) -> Iterator[Path]:
    """A directory to fetch into, held while this process lives, and removed afterwards."""
    _sweep(place)
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=place))
    held = os.open(scratch, os.O_RDONLY)
    try:
        with suppress(OSError):  # Some file systems have no locks: then only its age protects it.
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os.close(held)


def _sweep(place: Path) -> None:
    """Remove the directories of processes that were killed during a fetch."""
    for left in place.glob(f"{SCRATCH}*"):
        try:
            if time.time() - left.stat().st_mtime < SCRATCH_AGE_S:
                continue
            held = os.open(left, os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        except OSError:
            continue
        finally:
            os.close(held)


async def _why_broken(binary: Path) -> str:
    """Why a program does not print its version; empty if it does."""
    try:
        done = await run_command([str(binary), "--version"], deadline_s=CHECK_DEADLINE_S)
    except OSError as error:
        return _why_not_run(binary, error)
    if done.good and NAME in done.said.lower():
        return ""
    if done.stuck:
        return done.stuck
    if done.code < 0:
        return f"it is damaged, or not made for this processor ({signal.Signals(-done.code).name})"
    if "GLIBC" in done.said:
        return f"this machine's C library is too old for it ({done.said.splitlines()[0][-120:]})"
    return f"it says {done.said.splitlines()[0][:120]!r}" if done.said else "it says nothing"


def _why_not_run(binary: Path, error: OSError) -> str:
    if error.errno == errno.ENOEXEC:
        return "it is damaged, or made for another kind of machine"
    if error.errno == errno.ENOENT and binary.exists():
        return "it needs a C library that this machine does not have (glibc)"
    if error.errno == errno.EACCES and binary.exists():
        noexec = os.statvfs(binary).f_flag & os.ST_NOEXEC
        return (
            "its file system lets no program run (mounted noexec)"
            if noexec
            else ("this user may not run it")
        )
    return error.strerror or str(error)
