"""What a specification says of a task's secrets, and what a copy gets of them.

Intuition: values never stand in a specification. It names them, says how the copy sees each one (a
file, a variable, or both), who may ever get them, and the digest of a blob with the encrypted
values. The blob lies beside the log (`wire.sealed_box` makes and opens it). Credentials for the
image's registry ride in the same blob.

Invariants: a value stands nowhere outside memory but encrypted, in a blob; no class that holds one
shows it in its text.
Source: docs/design/secrets.md.
"""

from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.features import since
from p2pool.model.field_bounds import Name, bounded
from p2pool.model.ids import DIGEST_BYTES, Address, Digest, NodeId, PeerKey, PoolRef


@attrs.frozen
class SecretUse:
    """How a copy sees a secret: as the file `/run/secrets/NAME`, as a variable ("": as none)."""

    name: Name
    file: bool = since(2, default=True)
    variable: Name = since(2, default="")


@attrs.frozen
class RecipientPolicy:
    """The nodes that may ever be given the secrets: those named, and those of the providers named
    (both in hex). Neither: any member that a copy is assigned to."""

    nodes: Annotated[tuple[Name, ...], bounded(items=limits.SECRET_RECIPIENTS_MAX)] = since(
        2, default=()
    )
    providers: Annotated[tuple[Name, ...], bounded(items=limits.SECRET_RECIPIENTS_MAX)] = since(
        2, default=()
    )

    def permits(self, node_id: NodeId, provider: Address) -> bool:
        """Whether a node of that provider may have the secrets."""
        if not (self.nodes or self.providers):
            return True
        return node_id.hex() in self.nodes or provider.hex() in self.providers


ANYONE = RecipientPolicy()
"""Whoever gets a copy of the task may be given its secrets."""


@attrs.frozen
class TaskSecrets:
    """The secrets of a task. `digest`: of the blob, in hex; "": no values were sealed, so that
    nothing can be given to a copy (what the first feature level had). `registry_auth`: the blob
    holds credentials for the registry of the task's image."""

    uses: Annotated[tuple[SecretUse, ...], bounded(items=limits.SECRETS_MAX)] = since(2, default=())
    digest: Name = since(2, default="")
    size_bytes: int = since(2, default=0)
    recipients: RecipientPolicy = since(2, default=ANYONE)
    registry_auth: bool = since(2, default=False)

    @property
    def sealed(self) -> bool:
        """Whether there is a blob that has to be opened before a copy starts."""
        return bool(self.digest)


NO_SECRETS = TaskSecrets()


@attrs.frozen
class SecretValue:
    """An opened secret, on its way into a copy. `variable`: the name it has there, None: none."""

    name: str
    value: bytes = attrs.field(repr=False)
    file: bool = True
    variable: str | None = None


@attrs.frozen
class RegistryAuth:
    """Credentials for the registry of a task's image, and for no other."""

    username: str = attrs.field(repr=False)
    password: str = attrs.field(repr=False)


@attrs.frozen
class OpenedSecrets:
    """All that a task's blob held."""

    values: tuple[SecretValue, ...] = ()
    registry_auth: RegistryAuth | None = None


# --- what is encrypted, and what of it lies beside the log ----------------------------------------


@attrs.frozen
class SecretOwner:
    """The one request that a blob belongs to: whoever opens it does so for no other. `account`: who
    signed that request."""

    pool: PoolRef
    account: Address
    request_id: Annotated[bytes, bounded(exact_bytes=DIGEST_BYTES)]


@attrs.frozen
class NamedValue:
    """A secret's name and value, inside the encrypted part of a blob."""

    name: Name
    value: Annotated[bytes, bounded(bytes=limits.SECRET_MAX_BYTES)] = attrs.field(repr=False)


@attrs.frozen
class SecretContents:
    """What is encrypted under the data key; `username` and `password`: for the image's registry."""

    values: Annotated[tuple[NamedValue, ...], bounded(items=limits.SECRETS_MAX)]
    username: Annotated[str, bounded(text=limits.REGISTRY_AUTH_MAX_BYTES)] = attrs.field(
        default="", repr=False
    )
    password: Annotated[str, bounded(text=limits.REGISTRY_AUTH_MAX_BYTES)] = attrs.field(
        default="", repr=False
    )


DataKey = Annotated[bytes, bounded(exact_bytes=limits.DATA_KEY_BYTES)]
"""The random key of one blob."""

SealedText = Annotated[bytes, bounded(bytes=limits.SEALED_KEY_MAX_BYTES)]
"""A data key, sealed to a peer key."""


@attrs.frozen
class KeyStatement:
    """What is sealed to a node: the data key, and the one ciphertext and request it is for."""

    purpose: Name
    owner: SecretOwner
    ciphertext_digest: Digest
    data_key: DataKey = attrs.field(repr=False)


@attrs.frozen
class SealedKey:
    """A data key for one node, sealed to its peer key. Nobody but that node can tell a good one."""

    node_id: NodeId
    peer_key: PeerKey
    sealed: SealedText = attrs.field(repr=False)


@attrs.frozen
class SecretBlob:
    """The encrypted contents, and the data key for the nodes that the submitter sealed to."""

    nonce: Annotated[bytes, bounded(exact_bytes=limits.SECRET_NONCE_BYTES)]
    ciphertext: Annotated[bytes, bounded(bytes=limits.SECRET_CIPHERTEXT_MAX_BYTES)] = attrs.field(
        repr=False
    )
    keys: Annotated[tuple[SealedKey, ...], bounded(items=limits.SECRET_RECIPIENTS_MAX)] = ()

    def key_for(self, node_id: NodeId, peer_key: PeerKey) -> SealedKey | None:
        """The key that was sealed to a node, by the peer key that it has."""
        for key in self.keys:
            if (key.node_id, key.peer_key) == (node_id, peer_key):
                return key
        return None
