"""Keccak-256, as Ethereum has it: written out here, and by the library once that pays.

Importing the library costs as much CPU as two hundred blocks take here, and a command that signs
one request hashes twenty. Whoever checks signatures all day loads it first (`load`).
Source: the Keccak reference, version 3.0 (rate 1088, padding 0x01).
"""

import sys
from typing import Any

_RATE = 136
_LONG_BYTES = 100 * _RATE
_MASK = 2**64 - 1


def _round_constants() -> tuple[int, ...]:
    """The bits of a linear feedback shift register, at places 2^j - 1."""
    found, register = [], 1
    for _ in range(24):
        constant = 0
        for j in range(7):
            register = (register << 1) ^ ((register >> 7) * 0x171)
            if register & 2:
                constant ^= 1 << ((1 << j) - 1)
        found.append(constant)
    return tuple(found)


def _lanes() -> tuple[tuple[int, int], ...]:
    """For each step of rho and pi: the lane that is filled, and by how much its filling turns."""
    found, x, y = [], 1, 0
    for t in range(24):
        x, y = y, (2 * x + 3 * y) % 5
        found.append((x + 5 * y, (t + 1) * (t + 2) // 2 % 64))
    return tuple(found)


_CONSTANTS = _round_constants()
_LANES = _lanes()


def load() -> Any:
    """Load the library: everything after that is hashed by it."""
    from Crypto.Hash import keccak as library

    return library


def keccak(data: bytes) -> bytes:
    """The hash, 32 bytes."""
    library = sys.modules.get("Crypto.Hash.keccak")
    if library is None and len(data) >= _LONG_BYTES:
        library = load()
    if library is not None:
        return bytes(library.new(digest_bits=256, data=data).digest())
    return written_out(data)


def written_out(data: bytes) -> bytes:
    """The hash, without the library."""
    padded = bytearray(data) + bytes(_RATE - len(data) % _RATE)
    padded[len(data)] ^= 0x01
    padded[-1] ^= 0x80
    state = [0] * 25
    for start in range(0, len(padded), _RATE):
        for lane in range(_RATE // 8):
            at = start + 8 * lane
            state[lane] ^= int.from_bytes(padded[at : at + 8], "little")
        _permute(state)
    return b"".join(lane.to_bytes(8, "little") for lane in state[:4])


def _permute(a: list[int]) -> None:
    """Keccak-f[1600]."""
    for constant in _CONSTANTS:
        c = [a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20] for x in range(5)]
        d = [c[x - 1] ^ (c[x - 4] << 1 & _MASK | c[x - 4] >> 63) for x in range(5)]
        for lane in range(25):
            a[lane] ^= d[lane % 5]
        last = a[1]
        for lane, turn in _LANES:
            a[lane], last = (last << turn & _MASK) | last >> (64 - turn), a[lane]
        for row in range(0, 25, 5):
            b = a[row : row + 5]
            for x in range(5):
                a[row + x] = b[x] ^ (~b[x - 4] & b[x - 3])
        a[0] ^= constant
