"""The port to the one key that opens what was sealed to this node.

The core decides for whom a data key is sealed on; whoever implements this opens and seals, and
hands out no data key.
"""

from typing import Protocol

import attrs

from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.tasks.secrets import SealedKey, SecretBlob, SecretOwner, TaskSecrets


@attrs.frozen
class SealedSecret:
    """All that is needed to open a task's secrets here: its blob, our data key, and the request
    that both have to be for."""

    secrets: TaskSecrets
    owner: SecretOwner
    blob: SecretBlob = attrs.field(repr=False)
    key: SealedKey = attrs.field(repr=False)


class SecretKeys(Protocol):
    """Opens and seals data keys with this node's peer key."""

    def opens(self, sealed: SealedSecret) -> bool:
        """Whether the key in it is ours, and for this blob and this request."""
        ...

    def seal_on(self, sealed: SealedSecret, to: tuple[NodeId, PeerKey]) -> SealedKey | None:
        """The data key in it for another node; None if we cannot open it."""
        ...


class NoKeys:
    """A node without a key at hand: it opens nothing."""

    def opens(self, sealed: SealedSecret) -> bool:
        """No."""
        return False

    def seal_on(self, sealed: SealedSecret, to: tuple[NodeId, PeerKey]) -> SealedKey | None:
        """Nothing."""
        return None
