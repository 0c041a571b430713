"""A validator with NumPy computes what a stranger computes without."""

import pytest

from p2pool.proofs.validation import derivation, freivalds
from p2pool.validator.challenge.arithmetic import arithmetic

pytest.importorskip("numpy", reason="the arrays need NumPy")
SEED = bytes(range(200, 232))


def test_arrays_and_plain_python_are_equal_to_the_last_bit() -> None:
    """For vectors at both ends of the prime too."""
    fast = arithmetic()
    for row in (0, 1, 2**20 - 1):
        made = fast.left_row(SEED, row, 64)
        assert list(made) == list(derivation.left_row(SEED, row, 64))
    block = derivation.memory_block(SEED, 3, 4096, 2)
    assert fast.fingerprint(SEED, block) == derivation.fingerprint(SEED, block)
    high = [freivalds.PRIME - 1] * 12
    for x in (freivalds.vector(SEED, 12), high, [0] * 12):
        assert fast.right_image(SEED, 8, x) == freivalds.right_image(SEED, 8, x)
