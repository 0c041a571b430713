"""Verdicts that are signed as a validator's are, about whatever a test likes."""

from p2pool.codec.digests import digest
from p2pool.model.ids import Address, NodeId, PoolRef
from p2pool.model.validation.evidence import Conclusion
from p2pool.model.validation.verdict import SignedVerdict, Verdict
from p2pool.wire.account import Account
from p2pool.wire.evm.key_signer import signer_of
from p2pool.wire.validation.verdict import verdict_typed_data
from tests.wire.samples import NOW_MS, POOL


def validator(number: int) -> Account:
    """A validator's account."""
    return Account(bytes([100 + number]) * 32)


def address_of(account: Account) -> Address:
    """Its address."""
    return Address(bytes.fromhex(account.address[2:]))


def verdict_by(
    account: Account,
    node_id: NodeId,
    at_ms: int = NOW_MS,
    *,
    pool: PoolRef = POOL,
    conclusion: Conclusion = Conclusion.VALID,
    document: bytes = b"",
) -> SignedVerdict:
    """What an account says of a node, signed."""
    about = address_of(account) + node_id + at_ms.to_bytes(8, "big") + conclusion.value.encode()
    verdict = Verdict(
        pool=pool,
        validator=address_of(account),
        node_id=node_id,
        conclusion=conclusion,
        evidence=digest(document or about),
        concluded_at_ms=at_ms // 1000 * 1000,
    )
    return sign(account, verdict)


def sign(account: Account, verdict: Verdict) -> SignedVerdict:
    """Any verdict, signed by any account."""
    return SignedVerdict(verdict, signer_of(account).sign_typed(verdict_typed_data(verdict)))
