"""A prover in plain Python for tiny sizes, and provers that cheat with what they compute."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from p2pool.model.ids import Digest
from p2pool.model.limits import CHALLENGE_FINGERPRINT_BYTES, CHALLENGE_GROUP_BLOCKS
from p2pool.proofs.validation import derivation, merkle

Share = Mapping[str, Any]
GROUP_BYTES = CHALLENGE_FINGERPRINT_BYTES * CHALLENGE_GROUP_BLOCKS


@attrs.define
class PlainProver:
    """Does what a prover does, by the functions that a checker recomputes with."""

    right: dict[int, tuple[list[list[int]], int]] = attrs.Factory(dict)
    memory: dict[int, list[bytes]] = attrs.Factory(dict)
    rounds: dict[tuple[int, str], list[list[bytes]]] = attrs.Factory(dict)
    scans: dict[tuple[int, str], list[list[bytes]]] = attrs.Factory(dict)

    def perform(self, op: str, shares: Sequence[Share]) -> list[dict[str, Any]]:
        """The answers to a request's shares."""
        return [getattr(self, f"on_{op}")(share) for share in shares]

    def on_load(self, share: Share) -> dict[str, Any]:
        seed, inner, columns = bytes.fromhex(share["seed"]), share["inner"], share["columns"]
        rows = [list(derivation.right_row(seed, row, columns)) for row in range(inner)]
        self.right[share["device"]] = [list(one) for one in zip(*rows, strict=True)], inner
        return {}

    def on_fill(self, share: Share) -> dict[str, Any]:
        seed = bytes.fromhex(share["seed"])
        self.memory[share["device"]] = [
            self.block(seed, number, share) for number in range(share["blocks"])
        ]
        return {}

    def block(self, seed: bytes, number: int, share: Share) -> bytes:
        """A block of memory."""
        return derivation.memory_block(seed, number, share["block_bytes"], share["repeats"])

    def row(self, device: int, seed: bytes, number: int) -> bytes:
        """A row of a product."""
        columns, inner = self.right[device]
        left = derivation.left_row(seed, number, inner)
        entries = (sum(a * b for a, b in zip(left, one, strict=True)) for one in columns)
        return b"".join(entry.to_bytes(4, "little", signed=True) for entry in entries)

    def on_multiply(self, share: Share) -> dict[str, Any]:
        device, seed = share["device"], bytes.fromhex(share["seed"])
        made = []
        for product in range(share["products"]):
            of_product = derivation.product_seed(seed, product)
            made.append([self.row(device, of_product, n) for n in range(share["rows"])])
        self.rounds[device, share["seed"]] = made
        return {"root": merkle.root_of([_root(rows) for rows in made]).hex()}

    def on_rows(self, share: Share) -> dict[str, Any]:
        made = self.rounds[share["device"], share["seed"]]
        roots = [_root(rows) for rows in made]
        found = []
        for product, row in share["wanted"]:
            leaves = [merkle.leaf_digest(one) for one in made[product]]
            path = merkle.path_of(leaves, row) + merkle.path_of(roots, product)
            found.append(_shown(made[product][row], path))
        return {"openings": found}

    def fingerprint(self, seed: bytes, block: bytes) -> bytes:
        """A block's fingerprint in a pass."""
        return derivation.fingerprint(seed, block)

    def on_scan(self, share: Share) -> dict[str, Any]:
        device, seed, roots, groups = share["device"], bytes.fromhex(share["seed"]), [], []
        for _ in range(share["passes"]):
            found = b"".join(self.fingerprint(seed, block) for block in self.memory[device])
            cuts = range(0, len(found), GROUP_BYTES)
            groups.append([found[at : at + GROUP_BYTES] for at in cuts])
            roots.append(_root(groups[-1]))
            seed = derivation.next_scan_seed(seed, roots[-1])
        self.scans[device, share["seed"]] = groups
        return {"roots": [root.hex() for root in roots]}

    def on_blocks(self, share: Share) -> dict[str, Any]:
        passes, found = self.scans[share["device"], share["seed"]], []
        for scan, block in share["wanted"]:
            group = block // CHALLENGE_GROUP_BLOCKS
            leaves = [merkle.leaf_digest(one) for one in passes[scan]]
            found.append(_shown(passes[scan][group], merkle.path_of(leaves, group)))
        return {"openings": found}


def _root(parts: Sequence[bytes]) -> Digest:
    return merkle.root_of([merkle.leaf_digest(part) for part in parts])


def _shown(data: bytes, path: Sequence[bytes]) -> dict[str, Any]:
    return {"data": base64.b64encode(data).decode(), "path": [one.hex() for one in path]}


@attrs.define
class FakesRows(PlainProver):
    """Computes all rows but each `nth`, for which it makes something up."""

    nth: int = 100

    def row(self, device: int, seed: bytes, number: int) -> bytes:
        made = PlainProver.row(self, device, seed, number)
        if number % self.nth == self.nth - 1:
            return bytes([made[0] ^ 1]) + made[1:]
        return made


@attrs.define
class Precomputed(PlainProver):
    """Answers each round with what it had computed before it knew the question."""

    guess: bytes = bytes(32)

    def row(self, device: int, seed: bytes, number: int) -> bytes:
        return PlainProver.row(self, device, self.guess, number)


@attrs.define
class Forgetful(PlainProver):
    """Holds only a part of its blocks, and makes the fingerprints of others up."""

    held_permille: int = 500

    def block(self, seed: bytes, number: int, share: Share) -> bytes:
        if number * 1000 < share["blocks"] * self.held_permille:
            return PlainProver.block(self, seed, number, share)
        return bytes(share["block_bytes"])
