"""Opens tasks' secrets with this node's peer key: the one place where a value is in the clear.

Intuition: the core hands over what is encrypted and says whose it is; here it becomes values, on
their way into a container that starts now.

Invariants: a value goes to the runtime and nowhere else: not into a field, a log line or an error.
The data key of a blob never leaves this module.
Source: docs/design/secrets.md, "What a node does with it".
"""

from nacl.signing import SigningKey

from p2pool.model.errors import BadSpec, NotOffered, Refusal
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.ports.secrets import SealedSecret
from p2pool.model.tasks.secrets import (
    OpenedSecrets,
    RegistryAuth,
    SealedKey,
    SecretContents,
    SecretUse,
    SecretValue,
)
from p2pool.wire import sealed_box


class SecretOpener:
    """Opens with one peer key: `model.ports.secrets.SecretKeys`, and more for whoever starts
    containers."""

    def __init__(self, key: SigningKey | None) -> None:
        """`key`: this node's peer key; None opens nothing."""
        self._key = key

    def opens(self, sealed: SealedSecret) -> bool:
        """Whether the key in it is ours, and for this blob and this request."""
        try:
            self._data_key(sealed)
        except Refusal:
            return False
        return True

    def seal_on(self, sealed: SealedSecret, to: tuple[NodeId, PeerKey]) -> SealedKey | None:
        """The data key in it for another node; None if we cannot open it."""
        try:
            data_key = self._data_key(sealed)
            return sealed_box.seal_key(sealed.blob, sealed.owner, data_key, to)
        except Refusal:
            return None

    def open(self, sealed: SealedSecret | None) -> OpenedSecrets:
        """The values for a copy. `NotOffered`: this node cannot open them, another may; `BadSpec`:
        what was encrypted is not what the specification says."""
        if sealed is None:
            return OpenedSecrets()
        try:
            data_key = self._data_key(sealed)
        except Refusal as error:
            raise NotOffered(f"This node cannot open the task's secrets: {error.message}") from None
        try:
            contents = sealed_box.decrypt(sealed.blob, sealed.owner, data_key)
        except Refusal as error:
            raise BadSpec(f"The task's secrets open for nobody: {error.message}") from None
        return _matched(sealed, contents)

    def _data_key(self, sealed: SealedSecret) -> bytes:
        if self._key is None:
            raise NotOffered("This node has no key at hand.")
        return sealed_box.open_key(sealed.key, sealed.blob, sealed.owner, self._key)


NOTHING_OPENS = SecretOpener(None)


def _matched(sealed: SealedSecret, contents: SecretContents) -> OpenedSecrets:
    """The values in the order in which the specification names them."""
    named = {one.name: one.value for one in contents.values}
    uses = sealed.secrets.uses
    if sorted(named) != sorted(use.name for use in uses):
        raise BadSpec("The task's secrets are not those that its specification names.")
    auth = None
    if sealed.secrets.registry_auth:
        if not (contents.username and contents.password):
            raise BadSpec("The task's secrets hold no credentials for its registry.")
        auth = RegistryAuth(contents.username, contents.password)
    return OpenedSecrets(tuple(_value(use, named[use.name]) for use in uses), auth)


def _value(use: SecretUse, value: bytes) -> SecretValue:
    return SecretValue(use.name, value, use.file, use.variable or None)
