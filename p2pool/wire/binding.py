"""Peer bindings: a node key and a peer key, each vouching for the other.

One EIP-712 digest over pool, node, peer key and times is signed by the node key (secp256k1) and by
the peer key (Ed25519), so the holder of one key cannot claim the other. A binding counts only if it
comes from the peer that Noise authenticated as that key, or is passed on with its proof. Of two
bindings of one node the newer wins; a tie between two peer keys voids both, since nobody can say
which agent is the copy.
Source: docs/design/identities.md, "Peer bindings".
"""

from typing import Any

import attrs
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from p2pool.codec.json.hex import address_text
from p2pool.model import limits
from p2pool.model.errors import BadSignature, Malformed, NotForUs, Stale
from p2pool.model.ids import (
    ETH_SIGNATURE_BYTES,
    SIGNATURE_BYTES,
    NodeId,
    PeerKey,
    PoolRef,
)
from p2pool.model.peer_binding import PeerBinding
from p2pool.wire import eip712
from p2pool.wire.evm.key_signer import AnySigner, signer_of

_BINDING: eip712.Fields = (
    ("uint256", "poolId"),
    ("address", "node"),
    ("bytes32", "peerKey"),
    ("uint64", "notBefore"),
    ("uint64", "notAfter"),
)


def make_binding(
    pool: PoolRef,
    node_account: AnySigner,
    signing_key: SigningKey,
    not_before_s: int,
    lifetime_s: int = limits.BINDING_LIFETIME_MAX_S,
) -> PeerBinding:
    """A binding of our own two keys from `not_before_s` (Unix) on. Renew it at half its life."""
    assert 0 < lifetime_s <= limits.BINDING_LIFETIME_MAX_S
    blank = PeerBinding(
        chain_id=pool.chain_id,
        contract=pool.contract,
        pool_id=pool.pool_id,
        node_id=NodeId(bytes.fromhex(node_account.address[2:])),
        peer_key=PeerKey(bytes(signing_key.verify_key)),
        not_before_s=not_before_s,
        not_after_s=not_before_s + lifetime_s,
        node_signature=bytes(ETH_SIGNATURE_BYTES),
        peer_signature=bytes(SIGNATURE_BYTES),
    )
    message = binding_typed_data(pool, blank)
    digest = eip712.typed_digest(message)
    return attrs.evolve(
        blank,
        node_signature=signer_of(node_account).sign_typed(message),
        peer_signature=bytes(signing_key.sign(digest).signature),
    )


def check_binding(
    binding: PeerBinding, pool: PoolRef, authenticated_peer_key: PeerKey | None, now_s: int
) -> None:
    """Return if the binding is good for this pool and peer at `now_s` (Unix); raise otherwise.

    `authenticated_peer_key`: the key that Noise proved, None for a binding that was passed on.
    Raises `NotForUs`, `Malformed` (times), `Stale` (future, expired) or `BadSignature`.
    """
    if (binding.chain_id, binding.contract, binding.pool_id) != attrs.astuple(pool):
        raise NotForUs(
            f"The binding is for pool {binding.pool_id} of"
            f" {address_text(binding.contract)} on chain "
            f"{binding.chain_id}."
        )
    if authenticated_peer_key is not None and binding.peer_key != authenticated_peer_key:
        raise NotForUs("The binding is for another peer key than the connection's.")
    check_binding_times(binding, now_s)
    digest = eip712.typed_digest(binding_typed_data(pool, binding))
    try:
        VerifyKey(binding.peer_key).verify(digest, binding.peer_signature)
    except (BadSignatureError, ValueError) as error:
        raise BadSignature("The peer key did not sign this binding.") from error
    if NodeId(eip712.recover(digest, binding.node_signature)) != binding.node_id:
        raise BadSignature("The node key did not sign this binding.")


def check_binding_times(binding: PeerBinding, now_s: int) -> None:
    """The part of `check_binding` that changes with time."""
    span_s = binding.not_after_s - binding.not_before_s
    if binding.not_before_s < 0 or not 0 < span_s <= limits.BINDING_LIFETIME_MAX_S:
        raise Malformed(f"A binding may last at most {limits.BINDING_LIFETIME_MAX_S} s.")
    if binding.not_before_s > now_s + limits.BINDING_FUTURE_MAX_S:
        raise Stale(
            f"The binding begins in {binding.not_before_s - now_s} s.",
            hint="Compare the clocks of the two machines.",
        )
    if binding.not_after_s < now_s:
        raise Stale(f"The binding expired {now_s - binding.not_after_s} s ago.")


def renewal_due(binding: PeerBinding, now_s: int) -> bool:
    """Whether to sign anew: half of the lifetime is over, or it begins only later, as our clock was
    ahead then."""
    half_s = (binding.not_after_s - binding.not_before_s) // 2
    return not binding.not_before_s <= now_s < binding.not_before_s + half_s


def binding_typed_data(pool: PoolRef, binding: PeerBinding) -> dict[str, Any]:
    """The typed data of a binding, without the signatures."""
    data = {
        "poolId": binding.pool_id,
        "node": address_text(binding.node_id),
        "peerKey": binding.peer_key,
        "notBefore": binding.not_before_s,
        "notAfter": binding.not_after_s,
    }
    return eip712.full_message(pool, "PeerBinding", _BINDING, data)
