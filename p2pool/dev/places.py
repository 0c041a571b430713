"""A user's directories, and how much room they have.

Invariants: an unknown home is reported, not guessed; too little room is reported with the amount
needed, before anything is written if the amount is known.
"""

import os
import pwd
import shutil
from pathlib import Path

import platformdirs

from p2pool.model.errors import DiskFull, Misconfigured

MB = 1_000_000
OWN = "p2pool"
OWN_POOL = "p2pool-dev"


def _home_known() -> bool:
    if os.environ.get("HOME"):
        return True
    try:
        return bool(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return False


def user_cache(*parts: str) -> Path | None:
    """This user's cache, or a directory in it; None without a home to have one in."""
    if not (os.environ.get("XDG_CACHE_HOME") or _home_known()):
        return None
    return platformdirs.user_cache_path(OWN).absolute().joinpath(*parts)


def user_pool() -> Path:
    """The place of this user's development pool, unless another is named."""
    if not (os.environ.get("XDG_DATA_HOME") or _home_known()):
        raise Misconfigured(
            "This user has no home directory to keep a pool in (HOME is not set).",
            hint="Name a directory: p2pool dev up --dir DIR, or P2POOL_DEV_DIR.",
        )
    return platformdirs.user_data_path(OWN_POOL).absolute()


def nearest(directory: Path) -> Path:
    """The part of a directory's path that exists."""
    return next(place for place in (directory, *directory.parents) if os.path.isdir(place))


def free_bytes(directory: Path) -> int:
    """The bytes that can be written there, or above it if it does not exist yet."""
    return shutil.disk_usage(nearest(directory)).free


def no_space(directory: Path, purpose: str, wanted_bytes: int, instead: str) -> DiskFull:
    """The error for a directory without room for a purpose, such as "to fetch anvil"; `instead`:
    an alternative to freeing some."""
    place = nearest(directory)
    if os.statvfs(place).f_favail == 0:
        return DiskFull(
            f"No more files can be made in {place} {purpose} (its file system has no inodes left).",
            hint=f"Remove some (this shows the file system: df -i '{place}'), or {instead}.",
        )
    return DiskFull(
        f"There is no space in {place} {purpose}: {free_bytes(place) // MB} MB are free,"
        f" {wanted_bytes // MB} MB are needed.",
        hint=f"Free some (this shows what takes it: du -xh --max-depth=1 '{place}'), or {instead}.",
    )
