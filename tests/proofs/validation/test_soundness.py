"""How often a fake is found: as often as the arithmetic of docs/design/validation.md says."""

import math
import random
import struct
from hashlib import sha256

from p2pool.model.ids import Digest
from p2pool.model.validation.evidence import Conclusion, Fault
from p2pool.proofs.validation import derivation, freivalds, seeds
from p2pool.validator.challenge.plan import found_probability
from tests.proofs.validation.plans import plan_of
from tests.validator.harness.nodes import SimulatedNode, challenge
from tests.validator.harness.provers import FakesRows

DRAWS = 1000


def test_one_fake_row_in_a_hundred_is_drawn_as_often_as_stated() -> None:
    """A thousand draws of 100 rows among ten thousand: at least 63.4 % have a fake row."""
    plan, opened = plan_of(10_000, 100), 100
    hits = 0
    for number in range(DRAWS):
        draw = Digest(sha256(number.to_bytes(4, "big")).digest())
        drawn = seeds.drawn_rows(plan, 0, draw)
        assert len(set(drawn)) == opened
        hits += any(row % 100 == 99 for _, _, row in drawn)
    stated = found_probability(0.01, opened)
    deviation = math.sqrt(stated * (1 - stated) / DRAWS)
    assert abs(hits / DRAWS - stated) < 4 * deviation, hits


def test_a_prover_that_fakes_one_row_in_a_hundred_is_found_as_often_as_stated() -> None:
    """Whole challenges: each is found if, and only if, a fake row was drawn."""
    plan, found, challenges = plan_of(200, 60), 0, 24
    for number in range(challenges):
        node = SimulatedNode(1, prover=FakesRows(nth=100))
        done = challenge(node, entropy=number.to_bytes(32, "big"), claims=[node.claim(plan)])
        evidence = done.evidence[node.node_id]
        drawn = any(one.row % 100 == 99 for one in evidence.transcript.openings.rows)
        assert drawn == (evidence.conclusion is Conclusion.INVALID)
        assert {one.fault for one in evidence.faults} <= {Fault.WRONG_PRODUCT}
        found += drawn
    stated = found_probability(0.01, 60)
    deviation = math.sqrt(stated * (1 - stated) / challenges)
    # Drawn without putting back, so a little more often than stated.
    assert found / challenges > stated - 3 * deviation


def test_a_wrong_entry_anywhere_in_a_row_is_found() -> None:
    """Whatever the error is, and also where two errors would cancel out in a sum."""
    rng, inner, columns = random.Random(3), 32, 16
    x = freivalds.vector(bytes(32), columns)
    seed = bytes([1]) * 32
    image = freivalds.right_image(seed, inner, x)
    right = [derivation.right_row(seed, row, columns) for row in range(inner)]
    left = derivation.left_row(bytes([2]) * 32, 0, inner)
    true = [sum(a * row[at] for a, row in zip(left, right, strict=True)) for at in range(columns)]
    assert freivalds.holds(true, left, x, image)
    for _ in range(200):
        wrong = list(true)
        here, there = rng.sample(range(columns), 2)
        by = rng.choice([1, -1, 2**31 - 1, rng.randint(1, 2**20)])
        wrong[here] += by
        wrong[there] -= by
        assert not freivalds.holds(wrong, left, x, image)


def test_a_fingerprint_needs_every_word_of_a_block() -> None:
    """Another word, another order or another seed give another one."""
    block = derivation.memory_block(bytes(32), 0, 128, 2)
    words = struct.unpack("<32I", block)
    made = {derivation.fingerprint(bytes(32), block)}
    made.add(derivation.fingerprint(bytes(31) + b"\1" * 1, block))
    made.add(derivation.fingerprint(b"\1" * 32, block))
    for at in range(31):
        swapped = [*words[:at], words[at + 1], words[at], *words[at + 2 :]]
        made.add(derivation.fingerprint(bytes(32), struct.pack("<32I", *swapped)))
        changed = [*words[:at], words[at] ^ 1, *words[at + 1 :]]
        made.add(derivation.fingerprint(bytes(32), struct.pack("<32I", *changed)))
    # The last word of a seed is not used: it is the seed's business that all words are random.
    assert len(made) == 2 + 62
