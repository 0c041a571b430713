"""The CUDA prover: CuPy for the kernels of `kernels.cu`, PyTorch for the product of int8.

It has not been run on a GPU yet. What was run is `kernels.cu`, compiled for a CPU, thread by
thread, against the reference prover. On a GPU it has still to be shown that `torch._int_mm` gives
the same integers, which rates a round reaches, and how much memory is left to fill.

Intuition: nothing but seeds goes to a device, and nothing but roots comes back. Of a round only the
roots of its products are kept; a row that is opened later is computed again with its product.

Invariants: a device's work runs on its default stream, in order; `_int_mm` takes more than sixteen
rows, and inner dimensions and columns in eights.
"""

from dataclasses import dataclass, field
from hashlib import shake_128
from pathlib import Path
from typing import Any

import cupy
import numpy as np
import torch

from prover import merkle
from prover.interface import (
    Device,
    Opening,
    Refused,
    next_scan_seed,
    product_seed,
    seed_words,
)
from prover.reference import group_leaves, openings_of_groups

THREADS = 256
ROWS_MIN = 17
EIGHTS = 8
SOURCE = Path(__file__).with_name("kernels.cu")


def _grid(count: int) -> tuple[int]:
    return (-(-count // THREADS),)


@dataclass
class _Memory:
    """What one device holds between calls."""

    right: Any = None
    blocks: Any = None
    rounds: dict[bytes, tuple[int, list[bytes]]] = field(default_factory=dict)
    scans: dict[bytes, list[bytes]] = field(default_factory=dict)


class CudaProver:
    """All GPUs that the container sees."""

    def __init__(self) -> None:
        count = cupy.cuda.runtime.getDeviceCount()
        if not count:
            raise Refused("CUDA finds no GPU: start the container with the node's GPUs.")
        self._kernels = cupy.RawModule(code=SOURCE.read_text(encoding="utf-8"))
        self._memory = [_Memory() for _ in range(count)]

    def devices(self) -> list[Device]:
        """By their UUIDs, as the driver names them."""
        found = []
        for number in range(len(self._memory)):
            properties = cupy.cuda.runtime.getDeviceProperties(number)
            digits = bytes(properties["uuid"])[:16].hex()
            cuts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
            model = bytes(properties["name"]).split(b"\0")[0].decode()
            memory_bytes = int(properties["totalGlobalMem"])
            found.append(Device(f"GPU-{'-'.join(cuts)}", model, memory_bytes))
        return found

    def load(self, device: int, seed: bytes, inner: int, columns: int) -> None:
        """Derive the matrix that stays, and bring it to the device."""
        if inner % EIGHTS or columns % EIGHTS:
            raise Refused("Inner dimension and columns are in eights here.")
        made = (shake_128(seed + row.to_bytes(4, "big")).digest(columns) for row in range(inner))
        right = np.frombuffer(b"".join(made), dtype=np.int8).reshape(inner, columns)
        with cupy.cuda.Device(device):
            self._memory[device].right = cupy.asarray(right)
        self._memory[device].rounds.clear()

    def multiply(self, device: int, seed: bytes, products: int, rows: int) -> bytes:
        """A round's products. Only digests leave the device, all of them in the end."""
        if rows < ROWS_MIN:
            raise Refused(f"A product has at least {ROWS_MIN} rows here.")
        with cupy.cuda.Device(device):
            found = cupy.empty((products, 8), dtype=cupy.uint32)
            for number in range(products):
                product = self._product(device, product_seed(seed, number), rows)
                found[number] = self._root(self._leaves(product))
            roots = _digests(found)
        self._memory[device].rounds[seed] = rows, roots
        return merkle.root_of(roots)

    def _product(self, device: int, seed: bytes, rows: int) -> Any:
        right = self._memory[device].right
        if right is None:
            raise Refused("There is no matrix to multiply by: load it first.")
        inner = right.shape[0]
        first, second, *_ = seed_words(seed)
        words = cupy.empty((rows, inner // 4), dtype=cupy.uint32)
        arguments = (np.uint32(first), np.uint32(second), np.uint32(inner // 4))
        kernel = self._kernels.get_function("left_matrix")
        kernel(_grid(words.size), (THREADS,), (*arguments, np.uint64(words.size), words))
        left = torch.as_tensor(words.view(cupy.int8), device=f"cuda:{device}")
        return cupy.asarray(torch._int_mm(left, torch.as_tensor(right, device=f"cuda:{device}")))

    def _leaves(self, product: Any) -> Any:
        rows, columns = product.shape
        leaves = cupy.empty((rows, 8), dtype=cupy.uint32)
        kernel = self._kernels.get_function("row_leaves")
        arguments = (product.view(cupy.uint32), np.uint32(columns), np.uint32(rows), leaves)
        kernel(_grid(rows), (THREADS,), arguments)
        return leaves

    def _root(self, level: Any) -> Any:
        kernel = self._kernels.get_function("tree_level")
        while (count := level.shape[0]) > 1:
            above = cupy.empty(((count + 1) // 2, 8), dtype=cupy.uint32)
            kernel(_grid(above.shape[0]), (THREADS,), (level, np.uint32(count), above))
            level = above
        return level[0]

    def rows(self, device: int, seed: bytes, wanted: list[tuple[int, int]]) -> list[Opening]:
        """Rows of a round: the products that have them are computed again."""
        known = self._memory[device].rounds.get(seed)
        if known is None:
            raise Refused("This round was not computed here.")
        rows, roots = known
        found: dict[tuple[int, int], Opening] = {}
        with cupy.cuda.Device(device):
            for number in sorted({product for product, _ in wanted}):
                product = self._product(device, product_seed(seed, number), rows)
                leaves = _digests(self._leaves(product))
                above = merkle.path_of(roots, number)
                for row in (row for one, row in wanted if one == number):
                    data = cupy.asnumpy(product[row]).astype("<i4").tobytes()
                    found[number, row] = Opening(data, merkle.path_of(leaves, row) + above)
        return [found[one] for one in wanted]

    def fill(self, device: int, seed: bytes, blocks: int, block_bytes: int, repeats: int) -> None:
        """Fill the memory: a thread a block."""
        held = self._memory[device]
        held.blocks = None
        held.scans.clear()
        with cupy.cuda.Device(device):
            cupy.get_default_memory_pool().free_all_blocks()
            try:
                memory = cupy.empty((blocks, block_bytes // 4), dtype=cupy.uint32)
            except cupy.cuda.memory.OutOfMemoryError as error:
                raise Refused(f"The device has no {blocks * block_bytes} bytes free.") from error
            words = cupy.asarray(np.array(seed_words(seed), dtype=np.uint32))
            numbers = (np.uint64(0), np.uint64(blocks), np.uint32(block_bytes // 32))
            kernel = self._kernels.get_function("fill")
            kernel(_grid(blocks), (THREADS,), (words, *numbers, np.uint32(repeats), memory))
            cupy.cuda.Device(device).synchronize()
        held.blocks = memory

    def scan(self, device: int, seed: bytes, passes: int) -> list[bytes]:
        """Read all of the memory, each time under a seed that needs the root before it."""
        held = self._memory[device]
        if held.blocks is None:
            raise Refused("There is no memory to read: fill it first.")
        roots, found, start = [], [], seed
        blocks, words = held.blocks.shape
        with cupy.cuda.Device(device):
            kernel = self._kernels.get_function("fingerprints")
            for _ in range(passes):
                first, second, *_ = seed_words(seed)
                made = cupy.zeros((blocks, 2), dtype=cupy.uint32)
                arguments = (np.uint32(first), np.uint32(second), np.uint32(words))
                kernel((blocks,), (THREADS,), (*arguments, held.blocks, made))
                found.append(cupy.asnumpy(made).astype(">u4").tobytes())
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
        with cupy.cuda.Device(device):
            cupy.get_default_memory_pool().free_all_blocks()


def _digests(words: Any) -> list[bytes]:
    """Digests that lie as words on a device, as bytes."""
    made = cupy.asnumpy(words).astype(">u4").tobytes()
    return [made[at : at + 32] for at in range(0, len(made), 32)]
