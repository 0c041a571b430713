"""Matrices, rows and memory blocks from their seeds, for whoever recomputes what a device claims.

Intuition: a prover derives gigabytes on its device; a checker derives the few rows and blocks that
were drawn, in plain Python. So each row, and each block, follows from the seed and its own number.
A row's words come from a mixer that costs a device a few instructions. A block is a chain: each
line is a hash of the line before it and of an earlier one that the line before it names, so that
it is made in order, with all of it at hand, or not at all.

Invariants: the prover at the repository root derives the same bytes (tests compare them); the
mixer needs no secrecy, only that no shortcut gives the product of what it makes; nobody computes a
fingerprint under a fresh seed without all of the block's words.
Source: docs/design/validation.md, "Bytes"; the mixer is `lowbias32` of Chris Wellons.
"""

import struct
from collections.abc import Sequence
from hashlib import sha256, shake_128

LINE_BYTES = 32
WORD = 0xFFFFFFFF
GOLDEN = 0x9E3779B1
"""An odd constant that spreads small numbers over 32 bits."""


def mix(word: int) -> int:
    """A bijection of 32-bit words that leaves no bit alone."""
    word ^= word >> 16
    word = word * 0x7FEB352D & WORD
    word ^= word >> 15
    word = word * 0x846CA68B & WORD
    return word ^ word >> 16


def seed_words(seed: bytes) -> tuple[int, ...]:
    """A seed of 32 bytes as eight big-endian words."""
    return struct.unpack(">8I", seed)


def product_seed(round_seed: bytes, product: int) -> bytes:
    """The seed of one product of a round."""
    return sha256(round_seed + product.to_bytes(4, "big")).digest()


def left_row(seed: bytes, row: int, inner: int) -> Sequence[int]:
    """A row of a round's left matrix, as int8; `inner` is a multiple of four."""
    first, second, *_ = seed_words(seed)
    start = mix(row + first & WORD)
    words = (mix(((start ^ at * GOLDEN & WORD) + second) & WORD) for at in range(inner // 4))
    return memoryview(struct.pack(f"<{inner // 4}I", *words)).cast("b")


def right_row(seed: bytes, row: int, columns: int) -> Sequence[int]:
    """A row of the matrix that stays for all rounds, as int8."""
    made = shake_128(seed + row.to_bytes(4, "big")).digest(columns)
    return memoryview(made).cast("b")


def memory_block(seed: bytes, block: int, block_bytes: int, repeats: int) -> bytes:
    """A block of memory: a chain of lines, each with `repeats` hashes."""
    line = sha256(seed + block.to_bytes(8, "big")).digest()
    lines = [line]
    for at in range(1, block_bytes // LINE_BYTES):
        earlier = lines[int.from_bytes(line[:4], "big") % at]
        line = sha256(line + earlier).digest()
        for _ in range(repeats - 1):
            line = sha256(line).digest()
        lines.append(line)
    return b"".join(lines)


def fingerprint(seed: bytes, block: bytes) -> bytes:
    """Eight bytes that depend on every word of a block, and on the seed."""
    first, second, *_ = seed_words(seed)
    low = high = 0
    for at, word in enumerate(struct.unpack(f"<{len(block) // 4}I", block)):
        mixed = mix((word + second & WORD) ^ (at * GOLDEN + first & WORD))
        low += mixed
        high += mixed * (2 * at + 1)
    return struct.pack(">2I", low & WORD, high & WORD)


def next_scan_seed(seed: bytes, root: bytes) -> bytes:
    """The seed of the pass after one with this root: no two passes can be one."""
    return sha256(seed + root).digest()
