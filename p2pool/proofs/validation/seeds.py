"""Every seed and draw of a challenge, from what was said in it and nothing else.

Intuition: a challenge's id covers the pool, the validator, the node, both peer keys and both
nonces; seeds come from it, from the nonce of their round and from the commitment before it. An
honest agent derives them from its *own* node id and peer key, so it computes for nobody else, and
an answer to one challenge is noise in any other.

Invariants: no round's seed is known before its question; rows, blocks and vectors come from the
validator's secret, fixed by its hash in the challenge, and from the last commitment, so neither
side chooses them. Source: docs/design/validation.md, "Who fixes what, and when".
"""

from hashlib import shake_256

from p2pool.codec.cbor import canonical
from p2pool.codec.cbor.structs import to_value
from p2pool.codec.digests import digest
from p2pool.model.errors import NotForUs
from p2pool.model.ids import Digest, NodeId, PeerKey, PoolRef
from p2pool.model.validation.transcript import Challenge, Commitment, Question
from p2pool.model.validation.work import Plan, Rounds


def _bytes(purpose: str, *parts: canonical.Value) -> bytes:
    return canonical.encode(["p2pool/1", f"validation {purpose}", *parts])


def _named(purpose: str, *parts: canonical.Value) -> Digest:
    return digest(_bytes(purpose, *parts))


def challenge_id(challenge: Challenge) -> Digest:
    """The name of a challenge."""
    return _named("challenge", to_value(challenge))


def secret_hash(secret: Digest) -> Digest:
    """What a challenge says of the validator's secret."""
    return _named("secret", secret)


def commitment_bytes(commitment: Commitment) -> bytes:
    """What a node's peer key signs."""
    return _bytes("commitment", to_value(commitment))


def commitment_digest(commitment: Commitment) -> Digest:
    """How the next commitment names this one."""
    return digest(commitment_bytes(commitment))


def matrix_seed(challenge: Digest, device: int) -> Digest:
    """Of the matrix that stays for all rounds."""
    return _named("matrix", challenge, device)


def memory_seed(challenge: Digest, device: int) -> Digest:
    """Of what a device's memory is filled with."""
    return _named("memory", challenge, device)


def round_seed(challenge: Digest, previous: Digest, question: Question, device: int) -> Digest:
    """Of a round's left matrices, or of its first pass: known with the question alone. `previous`:
    the digest of the commitment before it."""
    return _named("round", challenge, previous, question.step, question.nonce, device)


def seed_of_answer(answer: Commitment, device: int) -> Digest:
    """The seed of the round that a commitment answers."""
    question = Question(answer.step, answer.nonce)
    return round_seed(answer.challenge, answer.previous, question, device)


def draw_of(secret: Digest, last: Commitment) -> Digest:
    """From what rows, blocks and vectors are drawn."""
    return _named("draw", secret, commitment_digest(last))


def check_addressed(
    challenge: Challenge, pool: PoolRef, node_id: NodeId, peer_key: PeerKey, node_nonce: Digest
) -> None:
    """`NotForUs` unless a challenge is to this node, by this key, on the connection for which the
    node drew its nonce."""
    if challenge.pool != pool:
        raise NotForUs("The challenge is for another pool.")
    if (challenge.node_id, challenge.peer_key) != (node_id, peer_key):
        raise NotForUs("The challenge is for another node, or for another peer key of it.")
    if challenge.node_nonce != node_nonce:
        raise NotForUs("The challenge is for another connection.")


def _distinct(draw: Digest, purpose: bytes, device: int, most: int, wanted: int) -> list[int]:
    """So many different numbers below `most`, or all there are."""
    count, found = min(most, wanted), dict[int, None]()
    have, taken = 2 * count + 16, 0
    start = draw + purpose + device.to_bytes(4, "big")
    stream = shake_256(start).digest(8 * have)
    while len(found) < count:
        if taken == have:
            have *= 2
            stream = shake_256(start).digest(8 * have)
        found[int.from_bytes(stream[8 * taken : 8 * taken + 8], "big") % most] = None
        taken += 1
    return list(found)


def _split(number: int, per_round: int, rounds: Rounds, first: int) -> tuple[int, int]:
    assert 0 <= number < per_round * rounds.count
    return first + number // per_round, number % per_round


def drawn_rows(plan: Plan, device: int, draw: Digest) -> list[tuple[int, int, int]]:
    """The rows that are opened of a device, as (step, product, row), in order."""
    work = plan.devices[device].product
    per_round = work.products * work.rows
    most = plan.products.count * per_round
    numbers = _distinct(draw, b"rows", device, most, plan.products.opened)
    found = []
    for number in numbers:
        step, rest = _split(number, per_round, plan.products, 1)
        found.append((step, rest // work.rows, rest % work.rows))
    return sorted(found)


def drawn_blocks(plan: Plan, device: int, draw: Digest) -> list[tuple[int, int, int]]:
    """The blocks that are opened of a device, as (step, pass, block), in order."""
    work = plan.devices[device].memory
    per_round = work.passes * work.blocks
    most = plan.scans.count * per_round
    numbers = _distinct(draw, b"blocks", device, most, plan.scans.opened)
    found = []
    for number in numbers:
        step, rest = _split(number, per_round, plan.scans, 1 + plan.products.count)
        found.append((step, rest // work.blocks, rest % work.blocks))
    return sorted(found)
