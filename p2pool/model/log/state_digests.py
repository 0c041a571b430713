"""By which algorithm a digest of the replicated state was made: its first byte says so.

Intuition: two states are compared by their digests, and a later version may find a better way to
make one (a Merkle root over the rows). A digest that names its algorithm is never taken for one of
another, and one that is not known here is refused rather than found to differ.

Invariant: a number, once given, keeps its meaning.
"""

from enum import IntEnum

from p2pool.model.errors import Malformed, TooNew
from p2pool.model.ids import STATE_DIGEST_BYTES, Digest, StateDigest


class DigestAlgorithm(IntEnum):
    """What a digest of a state is made of."""

    ARRAY = 0
    """SHA-256 of the array that release 0.1.0 kept the state in."""
    ROWS = 1
    """SHA-256 of the bytes of the state's rows."""


UNKNOWN_DIGEST = StateDigest(bytes(STATE_DIGEST_BYTES))
"""Instead of the digest of a state that is too large for one."""


def state_digest(algorithm: DigestAlgorithm, digest: Digest) -> StateDigest:
    """A digest with its algorithm."""
    return StateDigest(bytes([algorithm]) + digest)


def algorithm_of(made: bytes) -> DigestAlgorithm:
    """The algorithm of a state's digest; `TooNew` for one that this version does not know."""
    if len(made) != STATE_DIGEST_BYTES:
        raise Malformed(f"The digest of a state has {STATE_DIGEST_BYTES} bytes.")
    try:
        return DigestAlgorithm(made[0])
    except ValueError:
        raise TooNew(
            f"The digest of the state is made by algorithm {made[0]}, which this version of p2pool "
            "does not know."
        ) from None
