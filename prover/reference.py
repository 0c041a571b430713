"""The reference prover: NumPy on a CPU, for machines without GPUs and to compare others with.

Intuition: matrices are derived and multiplied whole, by arrays. A product of int8 is computed in
floats of 32 bits, in pieces so short that every sum is an integer that a float holds exactly; that
is many times faster than NumPy's own integers, and the same to the last bit.

Invariant: the same bytes as `p2pool.proofs.validation.derivation` gives, row by row and block by
block; tests compare them.
"""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256, shake_128
from typing import Any

import numpy as np

from prover import merkle
from prover.interface import (
    EXACT_TERMS,
    FINGERPRINT_BYTES,
    GOLDEN,
    GROUP_BLOCKS,
    LINE_BYTES,
    Device,
    Opening,
    Refused,
    next_scan_seed,
    product_seed,
    seed_words,
)

SCANNED_BYTES = 4 * 1024 * 1024
"""So much memory is read into temporary arrays at once."""


def mixed(words: Any) -> Any:
    """Each word of an array of uint32, mixed in place."""
    words ^= words >> np.uint32(16)
    words *= np.uint32(0x7FEB352D)
    words ^= words >> np.uint32(15)
    words *= np.uint32(0x846CA68B)
    words ^= words >> np.uint32(16)
    return words


def left_matrix(seed: bytes, rows: int, inner: int) -> Any:
    """A product's own matrix: `rows` x `inner` of int8."""
    first, second, *_ = seed_words(seed)
    starts = mixed(np.arange(rows, dtype=np.uint32) + np.uint32(first))
    steps = np.arange(inner // 4, dtype=np.uint32) * np.uint32(GOLDEN)
    words = mixed((starts[:, None] ^ steps[None, :]) + np.uint32(second))
    return words.astype("<u4").view(np.int8)


def right_matrix(seed: bytes, inner: int, columns: int) -> Any:
    """The matrix that stays: `inner` x `columns` of int8."""
    made = (shake_128(seed + row.to_bytes(4, "big")).digest(columns) for row in range(inner))
    return np.frombuffer(b"".join(made), dtype=np.int8).reshape(inner, columns)


def exact_product(left: Any, right: Any) -> Any:
    """The product of int8 matrices as int32, exactly."""
    total = np.zeros((left.shape[0], right.shape[1]), dtype=np.int32)
    for start in range(0, left.shape[1], EXACT_TERMS):
        part = slice(start, start + EXACT_TERMS)
        floats = left[:, part].astype(np.float32) @ right[part].astype(np.float32)
        total += floats.astype(np.int32)
    return total


def memory_block(seed: bytes, block: int, block_bytes: int, repeats: int) -> bytes:
    """A block: each line a hash of the one before it and of an earlier one that it names."""
    line = sha256(seed + block.to_bytes(8, "big")).digest()
    lines = [line]
    for at in range(1, block_bytes // LINE_BYTES):
        line = sha256(line + lines[int.from_bytes(line[:4], "big") % at]).digest()
        for _ in range(repeats - 1):
            line = sha256(line).digest()
        lines.append(line)
    return b"".join(lines)


def fingerprints(seed: bytes, memory: Any) -> bytes:
    """The fingerprints of all blocks of an array of uint32, a block a row."""
    first, second, *_ = seed_words(seed)
    positions = np.arange(memory.shape[1], dtype=np.uint32)
    salts = positions * np.uint32(GOLDEN) + np.uint32(first)
    weights = 2 * positions.astype(np.uint64) + np.uint64(1)
    at_once = max(1, SCANNED_BYTES // (4 * memory.shape[1]))
    found = []
    for start in range(0, memory.shape[0], at_once):
        words = mixed((memory[start : start + at_once] + np.uint32(second)) ^ salts)
        low = words.sum(axis=1, dtype=np.uint64).astype(np.uint32)
        high = (words.astype(np.uint64) * weights).sum(axis=1, dtype=np.uint64)
        pair = np.stack([low, high.astype(np.uint32)], axis=1)
        found.append(pair.astype(">u4").tobytes())
    return b"".join(found)


def group_leaves(found: bytes) -> list[bytes]:
    """The leaves over the fingerprints of all blocks."""
    width = GROUP_BLOCKS * FINGERPRINT_BYTES
    return [merkle.leaf_digest(found[at : at + width]) for at in range(0, len(found), width)]


def row_leaves(product: Any) -> list[bytes]:
    """The leaves over the rows of a product."""
    return [merkle.leaf_digest(row.tobytes()) for row in product.astype("<i4")]


@dataclass
class _Memory:
    """What one device holds between calls."""

    right: Any = None
    blocks: Any = None
    rounds: dict[bytes, tuple[int, list[bytes]]] = field(default_factory=dict)
    scans: dict[bytes, list[bytes]] = field(default_factory=dict)


class ReferenceProver:
    """The CPU as one device, or, for tests and development pools, as several."""

    def __init__(self, count: int = 1, memory_bytes: int = 0) -> None:
        """`memory_bytes`: what each device is said to have; all of the machine's if zero."""
        self._memory = [_Memory() for _ in range(count)]
        self._memory_bytes = memory_bytes or _machine_memory_bytes() // count

    def devices(self) -> list[Device]:
        """The CPU, as often as asked."""
        model = f"CPU {platform.machine()}"
        return [
            Device(f"CPU-{number}", model, self._memory_bytes)
            for number in range(len(self._memory))
        ]

    def load(self, device: int, seed: bytes, inner: int, columns: int) -> None:
        """Derive the matrix that stays."""
        self._memory[device].right = right_matrix(seed, inner, columns)
        self._memory[device].rounds.clear()

    def multiply(self, device: int, seed: bytes, products: int, rows: int) -> bytes:
        """A round's products, one after the other; only their roots are kept."""
        roots = [
            merkle.root_of(row_leaves(self._product(device, seed, number, rows)))
            for number in range(products)
        ]
        self._memory[device].rounds[seed] = rows, roots
        return merkle.root_of(roots)

    def _product(self, device: int, seed: bytes, number: int, rows: int) -> Any:
        right = self._memory[device].right
        if right is None:
            raise Refused("There is no matrix to multiply by: load it first.")
        return exact_product(left_matrix(product_seed(seed, number), rows, right.shape[0]), right)

    def rows(self, device: int, seed: bytes, wanted: list[tuple[int, int]]) -> list[Opening]:
        """Rows of a round: the products that have them are computed again."""
        known = self._memory[device].rounds.get(seed)
        if known is None:
            raise Refused("This round was not computed here.")
        rows, roots = known
        found: dict[tuple[int, int], Opening] = {}
        for number in sorted({product for product, _ in wanted}):
            product = self._product(device, seed, number, rows)
            leaves, above = row_leaves(product), merkle.path_of(roots, number)
            for row in (row for one, row in wanted if one == number):
                data = product[row].astype("<i4").tobytes()
                found[number, row] = Opening(data, merkle.path_of(leaves, row) + above)
        return [found[one] for one in wanted]

    def fill(self, device: int, seed: bytes, blocks: int, block_bytes: int, repeats: int) -> None:
        """Fill the memory, block by block."""
        memory = bytearray(blocks * block_bytes)
        for block in range(blocks):
            at = block * block_bytes
            memory[at : at + block_bytes] = memory_block(seed, block, block_bytes, repeats)
        held = self._memory[device]
        held.blocks = np.frombuffer(memory, dtype="<u4").reshape(blocks, block_bytes // 4)
        held.scans.clear()

    def scan(self, device: int, seed: bytes, passes: int) -> list[bytes]:
        """Read all of the memory, each time under a seed that needs the root before it."""
        held = self._memory[device]
        if held.blocks is None:
            raise Refused("There is no memory to read: fill it first.")
        roots, found, start = [], [], seed
        for _ in range(passes):
            found.append(fingerprints(seed, held.blocks))
            roots.append(merkle.root_of(group_leaves(found[-1])))
            seed = next_scan_seed(seed, roots[-1])
        held.scans[start] = found
        return roots

    def blocks(self, device: int, seed: bytes, wanted: list[tuple[int, int]]) -> list[Opening]:
        """The groups to which blocks belong."""
        known = self._memory[device].scans.get(seed)
        if known is None:
            raise Refused("This scan was not made here.")
        return openings_of_groups(known, wanted)

    def release(self, device: int) -> None:
        """Give all memory of a device back."""
        self._memory[device] = _Memory()


def openings_of_groups(passes: Sequence[bytes], wanted: list[tuple[int, int]]) -> list[Opening]:
    """The groups of blocks, as (pass, block), with their paths."""
    width, trees, found = GROUP_BLOCKS * FINGERPRINT_BYTES, dict[int, list[bytes]](), []
    for number, block in wanted:
        if number not in trees:
            trees[number] = group_leaves(passes[number])
        group = block // GROUP_BLOCKS
        data = passes[number][group * width : (group + 1) * width]
        found.append(Opening(data, merkle.path_of(trees[number], group)))
    return found


def _machine_memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
