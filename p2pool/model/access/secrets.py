"""What a specification says of a task's secrets, and what a copy gets of them.

Intuition: values never stand in a specification. It names them, says how the copy sees each one (a
file, a variable, or both), who may ever get them, and the digest of a blob with the encrypted
values. The blob lies beside the log (`wire.sealed_box` makes and opens it). Credentials for the
image's registry ride in the same blob.

Invariants: nothing in here that holds a value has a form on the wire, on a disk or in a text.
Source: docs/design/secrets.md.
"""

from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.features import since
from p2pool.model.field_bounds import Name, bounded


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
