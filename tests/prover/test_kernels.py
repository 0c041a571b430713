"""The kernels for GPUs, compiled for this CPU and run thread by thread, give the same bytes.

No GPU is needed, and none is proven to work by this: it shows that the kernels compute what they
should, not that a device runs them, or how fast.
"""

import ctypes
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from p2pool.proofs.validation import derivation, merkle

SOURCE = Path(__file__).parents[2] / "prover" / "kernels.cu"
SHIM = """
#define __global__
#define __device__ static
#define __constant__ static const
struct Place { unsigned int x; };
static Place blockIdx, blockDim, threadIdx;
static unsigned int atomicAdd(unsigned int *place, unsigned int more) {
    unsigned int before = *place;
    *place += more;
    return before;
}
extern "C" void place(unsigned int block, unsigned int width, unsigned int thread) {
    blockIdx.x = block;
    blockDim.x = width;
    threadIdx.x = thread;
}
#include "%s"
"""
SEED = bytes(range(32))
WORDS = derivation.seed_words(SEED)


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The kernels as functions of this process."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++, to compile the kernels for a CPU")
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "shim.cpp").write_text(SHIM % SOURCE, encoding="utf-8")
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", "kernels.so", "shim.cpp"]
    subprocess.run(command, cwd=folder, check=True, timeout=300)
    return ctypes.CDLL(str(folder / "kernels.so"))


def launch(kernels: ctypes.CDLL, name: str, grid: tuple[int, int], *arguments: object) -> None:
    """Every thread of a grid of (blocks, threads), one after the other."""
    for block in range(grid[0]):
        for thread in range(grid[1]):
            kernels.place(block, grid[1], thread)
            getattr(kernels, name)(*arguments)


def words(data: bytes, order: str = ">") -> "ctypes.Array[ctypes.c_uint32]":
    """Bytes as words on a device."""
    count = len(data) // 4
    return (ctypes.c_uint32 * count)(*struct.unpack(f"{order}{count}I", data))


def room(count: int) -> "ctypes.Array[ctypes.c_uint32]":
    """So many words, all zero."""
    return (ctypes.c_uint32 * count)()


def digests(made: "ctypes.Array[ctypes.c_uint32]") -> list[bytes]:
    """Digests that lie as words."""
    data = struct.pack(f">{len(made)}I", *made)
    return [data[at : at + 32] for at in range(0, len(data), 32)]


U32, U64 = ctypes.c_uint32, ctypes.c_uint64


def test_the_left_matrix(kernels: ctypes.CDLL) -> None:
    """A word for each thread; those beyond the end do nothing."""
    rows, inner = 3, 40
    made = room(rows * inner // 4)
    arguments = (U32(WORDS[0]), U32(WORDS[1]), U32(inner // 4), U64(len(made)), made)
    launch(kernels, "left_matrix", (4, 8), *arguments)
    wanted = b"".join(bytes(derivation.left_row(SEED, row, inner)) for row in range(rows))
    assert bytes(made) == wanted


@pytest.mark.parametrize("columns", [4, 12, 13, 14, 28, 32])
def test_the_leaves_of_rows(kernels: ctypes.CDLL, columns: int) -> None:
    """Where a row ends within a block of SHA-256 its padding may need another one."""
    rows = [SEED[:4] * row + b"\1" * (4 * columns - 4 * row) for row in range(3)]
    made = room(3 * 8)
    launch(kernels, "row_leaves", (1, 4), words(b"".join(rows), "<"), U32(columns), U32(3), made)
    assert digests(made) == [merkle.leaf_digest(row) for row in rows]


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_the_levels_of_a_tree(kernels: ctypes.CDLL, count: int) -> None:
    """Up to the root, whether levels are even or odd."""
    leaves = [merkle.leaf_digest(bytes([number])) for number in range(count)]
    level = words(b"".join(leaves))
    left = count
    while left > 1:
        above = room((left + 1) // 2 * 8)
        launch(kernels, "tree_level", (2, 4), level, U32(left), above)
        level, left = above, (left + 1) // 2
    assert digests(level) == [merkle.root_of(leaves)]


def test_memory_and_its_fingerprints(kernels: ctypes.CDLL) -> None:
    """Filled by one kernel, read by the other."""
    blocks, lines, repeats = 3, 6, 3
    memory = room(blocks * lines * 8)
    launch(
        kernels, "fill", (1, 4),
        words(SEED), U64(0), U64(blocks), U32(lines), U32(repeats), memory,
    )  # fmt: skip
    wanted = [derivation.memory_block(SEED, number, 32 * lines, repeats) for number in range(3)]
    assert bytes(memory) == b"".join(wanted)
    made = room(2 * blocks)
    seed = (U32(WORDS[0]), U32(WORDS[1]))
    launch(kernels, "fingerprints", (blocks, 5), *seed, U32(lines * 8), memory, made)
    told = b"".join(derivation.fingerprint(SEED, block) for block in wanted)
    assert struct.pack(f">{len(made)}I", *made) == told
