"""python -m cheating_prover KIND DEVICES [MILLISECONDS]: the reference prover, but for one thing.

`fakes`: of each product every tenth row is made up. `forgets`: half of the memory that it should
hold is never filled. `doubles`: all devices are one card, which takes so many milliseconds for its
share of a round, so the others wait.
"""

import sys
import threading
import time
from typing import Any

import numpy as np

from prover.protocol import serve
from prover.reference import ReferenceProver, memory_block

NTH = 10


class Fakes(ReferenceProver):
    """Makes a part of its rows up, and commits to that."""

    def _product(self, device: int, seed: bytes, number: int, rows: int) -> Any:
        made = super()._product(device, seed, number, rows)
        made[NTH - 1 :: NTH, 0] ^= 1
        return made


class Forgets(ReferenceProver):
    """Has half of the memory that it is said to have."""

    def fill(self, device: int, seed: bytes, blocks: int, block_bytes: int, repeats: int) -> None:
        """Leave the second half as it is."""
        memory = bytearray(blocks * block_bytes)
        for block in range(blocks // 2):
            at = block * block_bytes
            memory[at : at + block_bytes] = memory_block(seed, block, block_bytes, repeats)
        held = self._memory[device]
        held.blocks = np.frombuffer(memory, dtype="<u4").reshape(blocks, block_bytes // 4)
        held.scans.clear()


class Doubles(ReferenceProver):
    """One card that stands for several."""

    def __init__(self, count: int, takes_ms: int) -> None:
        super().__init__(count)
        self._card, self._takes_ms = threading.Lock(), takes_ms

    def multiply(self, device: int, seed: bytes, products: int, rows: int) -> bytes:
        """When the card is free."""
        with self._card:
            time.sleep(self._takes_ms / 1000)
            return super().multiply(device, seed, products, rows)


def prover_of(kind: str, count: int, takes_ms: int = 0) -> ReferenceProver:
    """The cheat of a name."""
    if kind == "doubles":
        return Doubles(count, takes_ms)
    return {"fakes": Fakes, "forgets": Forgets}[kind](count)


if __name__ == "__main__":
    serve(prover_of(sys.argv[1], *map(int, sys.argv[2:])), sys.stdin.buffer, sys.stdout.buffer)
