"""Sets a node's identity aside, so that its data directory can become another node's.

Intuition: what a directory holds is of two kinds. The keys, the store and the record of the start
are the node's, and true of no other. Volumes, images, configuration and tokens are the machine's.
So the first kind goes into `former/NODE`, where it can be taken back from, and the second stays.

Invariants: nothing is deleted; the caller holds the directory's lock; the node's key goes last, so
an interrupted move is ended by the next one.
"""

from pathlib import Path

from p2pool.codec.json.hex import address_text
from p2pool.drivers.keys.keystore import PEER_SEED_NAME
from p2pool.drivers.store.store import DATABASE_NAME
from p2pool.model.data_dir import NODE_KEY_FILE, START_FILE
from p2pool.model.errors import Misconfigured
from p2pool.model.ids import NodeId

FORMER = "former"
_OF_THE_NODE = (
    START_FILE,
    "invite.json",
    DATABASE_NAME,
    f"{DATABASE_NAME}-wal",
    f"{DATABASE_NAME}-shm",
    PEER_SEED_NAME,
    NODE_KEY_FILE,
)


def set_aside(directory: Path, node_id: NodeId) -> Path:
    """Move what is a node's own; where it lies then. Raises Misconfigured."""
    place = directory / FORMER / address_text(node_id)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _OF_THE_NODE:
            if (directory / name).exists():
                (directory / name).replace(place / name)
    except OSError as error:
        raise Misconfigured(
            f"What is the node's own cannot be moved to {place}: {error.strerror}.",
            hint="Check whose that directory is, then run the command again.",
        ) from error
    return place
