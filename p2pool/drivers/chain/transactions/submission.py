"""Hands a signed transaction to an endpoint, and reads what its pool says.

Intuition: pools have no codes for their answers, only texts, and each program its own. What matters
are seven: it is in the pool, its number is used, a replacement offers too little more, it offers
less than the chain asks, the account cannot pay, no pool takes such a thing, and nobody knows.

Invariants: an endpoint without an answer may have taken it, so its hash is looked up before it is
called lost; a number that is said to be used may have been used by this very transaction.
Source: the texts of geth, Erigon, Nethermind, Besu, reth and anvil.
"""

from collections.abc import Mapping
from enum import StrEnum

import attrs

from p2pool.drivers.chain import answers
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model.errors import ChainUnavailable


class Verdict(StrEnum):
    """What became of a transaction that was handed over."""

    TAKEN = "taken"
    NONCE_USED = "nonce used"
    REPLACEMENT_TOO_CHEAP = "replacement too cheap"
    TOO_CHEAP = "too cheap"
    CANNOT_PAY = "cannot pay"
    REFUSED = "refused"
    UNKNOWN = "unknown"


WORDS: Mapping[Verdict, tuple[str, ...]] = {
    Verdict.TAKEN: (
        "already known",
        "already imported",
        "already exists",
        "alreadyknown",
        "known transaction",
    ),
    Verdict.NONCE_USED: (
        "nonce too low",
        "nonce is too low",
        "nonce has already been used",
        "oldnonce",
    ),
    Verdict.REPLACEMENT_TOO_CHEAP: (
        "replacement transaction underpriced",
        "replacement fee too low",
        "replacementnotallowed",
        "could not replace existing",
    ),
    Verdict.TOO_CHEAP: (
        "underpriced",
        "less than block base fee",
        "lower than the current base fee",
        "fee cap less than",
        "feetoolow",
        "gas price below",
        "gas price too low",
    ),
    Verdict.CANNOT_PAY: ("insufficient funds", "insufficientfunds", "upfront cost exceeds"),
}
"""What pools say, in lower case; the first that fits counts."""


FAILURES = ("timeout", "timed out", "internal", "rate limit", "too many requests", "unavailable")
"""What endpoints say of themselves, not of a transaction."""


@attrs.frozen
class Handed:
    """A verdict, and the endpoint's words for it."""

    verdict: Verdict
    words: str = ""


async def submit(rpc: Rpc, raw: bytes, transaction_hash: str) -> Handed:
    """Hand it over. Raises `Reverted` where an endpoint runs it first, and it fails."""
    try:
        told = await rpc.request("eth_sendRawTransaction", "0x" + raw.hex())
        if isinstance(told, str) and told.lower() == transaction_hash:
            return Handed(Verdict.TAKEN)
        found = Handed(Verdict.UNKNOWN, f"an endpoint answered {answers.shown(told)!r}")
    except ChainUnavailable as error:
        verdict = verdict_of(error.message)
        if verdict is Verdict.UNKNOWN and _all_refuse(rpc, error.message):
            verdict = Verdict.REFUSED
        found = Handed(verdict, error.message)
    doubtful = found.verdict in (Verdict.UNKNOWN, Verdict.NONCE_USED, Verdict.REFUSED)
    if doubtful and await is_known(rpc, transaction_hash):
        return Handed(Verdict.TAKEN)
    return found


def verdict_of(words: str) -> Verdict:
    """What a pool's words mean."""
    told = words.lower()
    for verdict, known in WORDS.items():
        if any(word in told for word in known):
            return verdict
    return Verdict.UNKNOWN


def _all_refuse(rpc: Rpc, words: str) -> bool:
    """Whether every endpoint answered that it takes no such transaction, none with a failure of its
    own, after which it may be in its pool all the same."""
    answered = words.count(": eth_sendRawTransaction: ") == len(rpc.endpoints)
    return answered and not any(word in words.lower() for word in FAILURES)


async def is_known(rpc: Rpc, transaction_hash: str) -> bool:
    """Whether any endpoint has it, in its pool or in a block."""
    asked = ("eth_getTransactionByHash", transaction_hash)
    try:
        if isinstance(await rpc.request(*asked), dict):
            return True
    except ChainUnavailable:
        pass  # Another may have it.
    return any(
        isinstance(told, dict) for _, told in await rpc.others(*asked, read=answers.anything)
    )
