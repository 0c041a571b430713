"""python -m cheating_prover KIND DEVICES [MILLISECONDS]: the reference prover, but for one thing.

`fakes`: of each product every tenth row is made up. `forgets`: half of the memory that it should
hold is never filled. `doubles`: all devices are one card, which takes so many milliseconds for its
share of a round, so the others wait. `shares`: a card that other nodes have too; it takes so many
milliseconds for a round, and as many again once SIGUSR1 has said that another one is at it.
"""

import importlib
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


class Shares(ReferenceProver):
    """A card that its owner shows by several nodes."""

    def __init__(self, count: int, takes_ms: int) -> None:
        super().__init__(count)
        self._taken, self._takes_ms = threading.Event(), takes_ms

    def taken(self, number: int, frame: Any) -> None:
        """Another node uses the card."""
        self._taken.set()

    def multiply(self, device: int, seed: bytes, products: int, rows: int) -> bytes:
        """As fast as what is left of the card."""
        time.sleep(self._takes_ms / 1000)
        if self._taken.is_set():
            time.sleep(self._takes_ms / 1000)
        return super().multiply(device, seed, products, rows)


def prover_of(kind: str, count: int, takes_ms: int = 0) -> ReferenceProver:
    """The cheat of a name."""
    if kind == "doubles":
        return Doubles(count, takes_ms)
    if kind == "shares":
        shares = Shares(count, takes_ms)
        signals = importlib.import_module("_signal")  # The image has no `signal`, which wraps it.
        signals.signal(signals.SIGUSR1, shares.taken)
        return shares
    return {"fakes": Fakes, "forgets": Forgets}[kind](count)


if __name__ == "__main__":
    serve(prover_of(sys.argv[1], *map(int, sys.argv[2:])), sys.stdin.buffer, sys.stdout.buffer)
