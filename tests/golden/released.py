"""The disks of released versions, as their agents left them: see `tests/golden/disks/README.md`."""

import json
import tarfile
from pathlib import Path
from typing import Any

from p2pool.model.ids import Address, PoolRef

DISKS = Path(__file__).parent / "disks"
RELEASES = tuple(sorted(path.name for path in DISKS.iterdir() if path.is_dir()))


def facts_of(release: str) -> dict[str, Any]:
    """What the release itself read from its disks."""
    found: dict[str, Any] = json.loads((DISKS / release / "facts.json").read_text())
    return found


def pool_of(release: str) -> PoolRef:
    """The pool that they are of."""
    pool = facts_of(release)["pool"]
    contract = Address(bytes.fromhex(pool["contract"][2:]))
    return PoolRef(pool["chain_id"], contract, pool["pool_id"])


def unpack(release: str, agent: str, path: Path) -> Path:
    """An agent's data directory, made at `path`."""
    path.mkdir(mode=0o700, parents=True)
    with tarfile.open(DISKS / release / f"{agent}.tar.xz") as packed:
        packed.extractall(path, filter="data")
    for file in path.iterdir():
        file.chmod(0o600)
    return path
