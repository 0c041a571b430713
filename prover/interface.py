"""What a prover does, whatever its devices are.

Intuition: two kinds of work. *Products*: one matrix stays (`load`), others are derived from a seed
for each round and multiplied by it (`multiply` gives the Merkle root over all rows), and single
rows are shown afterwards (`rows`). *Memory*: it is filled once (`fill`), read as a whole under a
fresh seed (`scan` gives a root for each pass), and single groups of fingerprints are shown
(`blocks`).

Invariants: every result follows from the seeds and sizes alone, to the last bit, on every device;
one device's calls come one after the other, those of different devices at the same time.
"""

import struct
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

LINE_BYTES = 32
FINGERPRINT_BYTES = 8
GROUP_BLOCKS = 64
"""So many blocks' fingerprints are one leaf."""
GOLDEN = 0x9E3779B1
EXACT_TERMS = 1024
"""So many products of two int8 add up to 2**24 at most: exact in a float of 32 bits."""


class Refused(Exception):
    """A request that cannot be carried out; the sentence says why."""


@dataclass(frozen=True)
class Device:
    """A device that this prover found. `memory_bytes`: all that it has."""

    uuid: str
    model: str
    memory_bytes: int


@dataclass(frozen=True)
class Opening:
    """A row, or the fingerprints of a group of blocks, with the siblings up to the root."""

    data: bytes
    path: tuple[bytes, ...]


class Prover(Protocol):
    """A machine's devices of one kind. `device`: a position in `devices()`."""

    def devices(self) -> list[Device]:
        """All devices, in an order that stays."""
        ...

    def load(self, device: int, seed: bytes, inner: int, columns: int) -> None:
        """Derive the matrix that stays: `inner` x `columns`."""
        ...

    def multiply(self, device: int, seed: bytes, products: int, rows: int) -> bytes:
        """A round's products: the root over the rows of all of them."""
        ...

    def rows(self, device: int, seed: bytes, wanted: list[tuple[int, int]]) -> list[Opening]:
        """Rows, as (product, row), of a round that `multiply` has computed."""
        ...

    def fill(self, device: int, seed: bytes, blocks: int, block_bytes: int, repeats: int) -> None:
        """Fill the memory: it stays until `release`."""
        ...

    def scan(self, device: int, seed: bytes, passes: int) -> list[bytes]:
        """Read all of the filled memory so many times: a root for each."""
        ...

    def blocks(self, device: int, seed: bytes, wanted: list[tuple[int, int]]) -> list[Opening]:
        """Groups, as (pass, block), of a `scan` that began with this seed."""
        ...

    def release(self, device: int) -> None:
        """Give all memory of a device back."""
        ...


def seed_words(seed: bytes) -> tuple[int, ...]:
    """A seed of 32 bytes as eight big-endian words."""
    return struct.unpack(">8I", seed)


def product_seed(seed: bytes, product: int) -> bytes:
    """The seed of one product of a round."""
    return sha256(seed + product.to_bytes(4, "big")).digest()


def next_scan_seed(seed: bytes, root: bytes) -> bytes:
    """The seed of the pass after one with this root."""
    return sha256(seed + root).digest()
