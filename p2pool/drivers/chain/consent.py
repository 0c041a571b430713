"""Signatures that the contracts check: a node's consent and a manager's invite.

Both are EIP-191 signatures over a keccak digest whose layout the contracts fix, and neither binds
chain or contract. So the signer makes them only from values of its own configuration, never from
bytes that a peer sent; invites carry a random nonce and expire soon.
"""

import secrets
from typing import Protocol

import attrs

from p2pool.model import limits
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import BadSignature
from p2pool.model.ids import DIGEST_BYTES, Address, Digest, NodeId
from p2pool.wire.eip712 import recover
from p2pool.wire.evm.key_signer import AnySigner, personal_digest, signer_of
from p2pool.wire.keccak import keccak


def consent_digest(provider: Address, node_id: NodeId) -> bytes:
    """keccak256(provider ++ node)."""
    return keccak(bytes(provider) + bytes(node_id))


def invite_digest(
    domain_id: int, pool_id: int, node_id: NodeId, nonce: int, expiration_s: int
) -> bytes:
    """keccak256(domainId ++ poolId ++ node ++ nonce ++ expiration), numbers in 32 bytes."""
    return keccak(
        domain_id.to_bytes(32, "big")
        + pool_id.to_bytes(32, "big")
        + bytes(node_id)
        + nonce.to_bytes(32, "big")
        + expiration_s.to_bytes(32, "big")
    )


def personal_hash(digest: bytes) -> bytes:
    """EIP-191's hash of a 32-byte digest; the contracts check signatures of this hash."""
    assert len(digest) == DIGEST_BYTES
    return personal_digest(digest)


def _sign(account: AnySigner, digest: bytes) -> bytes:
    return signer_of(account).sign_personal(digest)


def sign_consent(node: AnySigner, provider: Address) -> bytes:
    """The node key's consent to belong to a provider, 65 bytes."""
    return _sign(node, consent_digest(provider, NodeId(bytes.fromhex(node.address[2:]))))


class ManagerSigner(Protocol):
    """Signs for the manager: a key file, or the members of a contract (ERC-1271).

    `invite_signer` only recovers the signer of a single key's invite; whether a contract accepts
    an invite, only the chain can say (`PoolContracts.invited_by`).
    """

    @property
    def address(self) -> Address:
        """The pool's computeManagerKey."""
        ...

    def sign_invite(
        self, domain_id: int, pool_id: int, node_id: NodeId, expiration_s: int
    ) -> Invite:
        """A fresh invite for one node."""
        ...


class KeyManager:
    """A manager with a single key."""

    def __init__(self, account: AnySigner) -> None:
        """Keep the account; its key never leaves this object."""
        self._account = account

    @property
    def address(self) -> Address:
        """The account's address."""
        return Address(bytes.fromhex(self._account.address[2:]))

    def sign_invite(
        self, domain_id: int, pool_id: int, node_id: NodeId, expiration_s: int
    ) -> Invite:
        """A fresh invite with a random nonce."""
        blank = unsigned_invite(domain_id, pool_id, node_id, expiration_s)
        return attrs.evolve(blank, signature=countersign(self._account, blank))


def unsigned_invite(domain_id: int, pool_id: int, node_id: NodeId, expiration_s: int) -> Invite:
    """A fresh invite with a random nonce, for others to sign."""
    return Invite(
        domain_id=domain_id,
        pool_id=pool_id,
        node_id=node_id,
        nonce=secrets.randbits(63),
        expiration_s=expiration_s,
        signature=b"",
    )


def countersign(member: AnySigner, invite: Invite) -> bytes:
    """A key's signature, 65 bytes, of an invite that is there already: the manager's own, or that
    of a member of the contract that manages."""
    digest = invite_digest(
        invite.domain_id, invite.pool_id, invite.node_id, invite.nonce, invite.expiration_s
    )
    return _sign(member, digest)


def invite_signer(invite: Invite) -> Address:
    """The account that signed an invite; `BadSignature` if the signature is none, in the one form
    that the contracts take."""
    if not is_well_formed(invite):
        raise BadSignature("The invite's numbers are out of bounds.")
    digest = invite_digest(
        invite.domain_id, invite.pool_id, invite.node_id, invite.nonce, invite.expiration_s
    )
    return recover(Digest(personal_hash(digest)), invite.signature)


def is_well_formed(invite: Invite) -> bool:
    """Whether the contracts can read an invite: the codec lets negative numbers in."""
    numbers = (invite.domain_id, invite.pool_id, invite.nonce, invite.expiration_s)
    return all(0 <= number <= limits.CHAIN_WORD_MAX for number in numbers)
