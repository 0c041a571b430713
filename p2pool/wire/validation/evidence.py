"""Who signed what in a validation, and the whole check of its evidence by a stranger.

Intuition: a node's peer key signs its commitments, in a form of their own that its agent composes;
the validator's account signs the evidence's digest as typed data, with the node and the conclusion
in words beside it. The peer binding in the evidence ties the peer key to the node, so that a
validator cannot sign in a node's place.

Invariants: `verify_evidence` needs no network; whether the account holds the role of a validator is
for the chain to say, and for the caller to ask. Source: docs/design/validation.md, "The document".
"""

from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from p2pool.codec.json.hex import address_text
from p2pool.codec.validation import evidence_digest
from p2pool.model.errors import BadSignature, NotForUs
from p2pool.model.ids import PeerKey, PoolRef
from p2pool.model.validation.evidence import Evidence, SignedEvidence
from p2pool.model.validation.transcript import Challenge, Commitment, SignedCommitment
from p2pool.proofs.validation.judgement import Judgement, check_conclusion
from p2pool.proofs.validation.seeds import challenge_id, commitment_bytes
from p2pool.wire import eip712
from p2pool.wire.binding import check_binding
from p2pool.wire.evm.key_signer import AnySigner, signer_of

VALIDATION_FIELDS: eip712.Fields = (
    ("uint256", "poolId"),
    ("address", "node"),
    ("string", "conclusion"),
    ("bytes32", "evidence"),
    ("uint64", "concludedAt"),
)
_CHALLENGE: eip712.Fields = (
    ("uint256", "poolId"),
    ("address", "node"),
    ("bytes32", "challenge"),
    ("uint64", "issuedAt"),
)


def verifies(peer_key: PeerKey, message: bytes, signature: bytes) -> bool:
    """Whether a peer key signed a message."""
    try:
        VerifyKey(peer_key).verify(message, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


def sign_commitment(key: SigningKey, commitment: Commitment) -> SignedCommitment:
    """An answer of a node, by its peer key."""
    return SignedCommitment(commitment, bytes(key.sign(commitment_bytes(commitment)).signature))


def challenge_typed_data(challenge: Challenge) -> dict[str, Any]:
    """A challenge as the validator's account signs it: the node asks the chain for its role."""
    data = {
        "poolId": challenge.pool.pool_id,
        "node": address_text(challenge.node_id),
        "challenge": challenge_id(challenge),
        "issuedAt": challenge.issued_at_ms // 1000,
    }
    return eip712.full_message(challenge.pool, "ValidationChallenge", _CHALLENGE, data)


def sign_challenge(account: AnySigner, challenge: Challenge) -> bytes:
    """The validator's signature under a challenge."""
    return signer_of(account).sign_typed(challenge_typed_data(challenge))


def check_challenge(challenge: Challenge, signature: bytes) -> None:
    """`BadSignature` unless the validator that a challenge names signed it."""
    digest = eip712.typed_digest(challenge_typed_data(challenge))
    if eip712.recover(digest, signature) != challenge.validator:
        raise BadSignature("Another account than the validator that it names signed the challenge.")


def evidence_typed_data(evidence: Evidence) -> dict[str, Any]:
    """Evidence as the validator's account signs it."""
    challenge = evidence.transcript.challenge
    data = {
        "poolId": challenge.pool.pool_id,
        "node": address_text(challenge.node_id),
        "conclusion": evidence.conclusion.value,
        "evidence": evidence_digest(evidence),
        "concludedAt": evidence.concluded_at_ms // 1000,
    }
    return eip712.full_message(challenge.pool, "Validation", VALIDATION_FIELDS, data)


def sign_evidence(account: AnySigner, evidence: Evidence) -> SignedEvidence:
    """Evidence with the validator's signature."""
    return SignedEvidence(evidence, signer_of(account).sign_typed(evidence_typed_data(evidence)))


def verify_evidence(pool: PoolRef, signed: SignedEvidence) -> Judgement:
    """What evidence shows, to whoever trusts nobody; a `Refusal` if it shows nothing, or something
    else than the validator says."""
    evidence = signed.evidence
    challenge, binding = evidence.transcript.challenge, evidence.binding
    if challenge.pool != pool:
        raise NotForUs(f"The evidence is of pool {challenge.pool.pool_id}, not of {pool.pool_id}.")
    digest = eip712.typed_digest(evidence_typed_data(evidence))
    if eip712.recover(digest, signed.signature) != challenge.validator:
        raise BadSignature("Another account than the validator that it names signed the evidence.")
    check_binding(binding, pool, challenge.peer_key, challenge.issued_at_ms // 1000)
    if binding.node_id != challenge.node_id:
        raise NotForUs("The peer binding in the evidence is of another node.")
    return check_conclusion(evidence, verifies)
