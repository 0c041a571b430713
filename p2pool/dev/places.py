"""Where a user's things lie, and what else may lie there.

Intuition: a development pool is removed with everything in its directory, so it takes none that
somebody else has files in. A home that is not known is said, not guessed.
"""

import os
import pwd
from pathlib import Path

import platformdirs

from p2pool.model.errors import Misconfigured

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
    """This user's cache, or a directory in it; None where there is no home to have one in."""
    if not (os.environ.get("XDG_CACHE_HOME") or _home_known()):
        return None
    return platformdirs.user_cache_path(OWN).absolute().joinpath(*parts)


def user_pool() -> Path:
    """Where this user's development pool is, if no other place is named."""
    if not (os.environ.get("XDG_DATA_HOME") or _home_known()):
        raise Misconfigured(
            "This user has no home directory to keep a pool in (HOME is not set).",
            hint="Name a directory: p2pool dev up --dir DIR, or P2POOL_DEV_DIR.",
        )
    return platformdirs.user_data_path(OWN_POOL).absolute()
