"""The keys of nodes that consent to their provider, wherever they are."""

from pathlib import Path
from typing import TYPE_CHECKING

from p2pool.cli.shared.chain import Sender

if TYPE_CHECKING:
    from p2pool.drivers.chain.provider.ways import Consent
    from p2pool.drivers.keys.signers.place import KeyPlace
    from p2pool.model.ids import Address
    from p2pool.model.ports.signer import Signer


def open_node_key(
    place: "KeyPlace", sender: Sender, passphrase_file: Path | None = None
) -> "Signer":
    """Who signs for a node; a dry run opens its key too, because its consent is shown. Without a
    passphrase file of its own, a key file is opened as the sender's is."""
    from p2pool.drivers.input_files import input_path
    from p2pool.drivers.keys.signers.opener import open_signer
    from p2pool.drivers.keys.signers.place import KeyFile

    secret = passphrase_file
    if secret is None and sender.passphrase_file and isinstance(place, KeyFile):
        secret = input_path(sender.passphrase_file)
    return open_signer(place, "the node key", passphrase_file=secret)


def consent_by(node: "Signer", provider: "Address") -> "Consent":
    """Has the node consent to a provider; a signer may wait for a person."""

    async def consent() -> bytes:
        import trio

        from p2pool.drivers.chain.consent import sign_consent

        return await trio.to_thread.run_sync(sign_consent, node, provider, abandon_on_cancel=True)

    return consent
