"""Vectors of the hardware challenge: what is derived from seeds, and evidence of two challenges.

One node is honest, the other fakes every third row. Both are tiny, so that the documents can be
read; the nonces come from fixed entropy, so they never change.
"""

from typing import Any

from p2pool.codec.validation import evidence_bytes, evidence_digest
from p2pool.model.validation.work import DeviceWork, MemoryWork, Plan, ProductWork, Rounds
from p2pool.proofs.validation import derivation, merkle, seeds
from p2pool.wire import eip712
from p2pool.wire.account import checksummed
from p2pool.wire.validation.evidence import evidence_typed_data, sign_evidence
from tests.validator.harness.nodes import VALIDATOR, SimulatedNode, challenge
from tests.validator.harness.provers import FakesRows, PlainProver

SEED = bytes(range(32))
PLAN = Plan(
    figures_version=1,
    devices=(
        DeviceWork(
            uuid="GPU-0",
            model="Test card",
            memory_bytes=16_384,
            product=ProductWork(products=2, rows=3, inner=8, columns=4),
            memory=MemoryWork(blocks=66, block_bytes=64, repeats=2, passes=2),
        ),
    ),
    products=Rounds(count=1, due_ms=60_000, late_max=0, opened=3),
    scans=Rounds(count=1, due_ms=60_000, late_max=0, opened=2),
    fill_due_ms=60_000,
    openings_due_ms=60_000,
)


def _hex(data: bytes) -> str:
    return f"h'{data.hex()}'"


def _derived() -> Any:
    block = derivation.memory_block(SEED, 7, 128, 3)
    leaves = [merkle.leaf_digest(bytes([number])) for number in range(5)]
    return {
        "seed": _hex(SEED),
        "product_seed": {"product": 5, "seed": _hex(derivation.product_seed(SEED, 5))},
        "left_row": {"row": 3, "entries": list(derivation.left_row(SEED, 3, 16))},
        "right_row": {"row": 3, "entries": list(derivation.right_row(SEED, 3, 16))},
        "memory_block": {"block": 7, "repeats": 3, "bytes": _hex(block)},
        "fingerprint": _hex(derivation.fingerprint(SEED, block)),
        "next_scan_seed": _hex(derivation.next_scan_seed(SEED, leaves[0])),
        "tree": {
            "leaves": [_hex(bytes([number])) for number in range(5)],
            "root": _hex(merkle.root_of(leaves)),
            "path_of_2": [_hex(one) for one in merkle.path_of(leaves, 2)],
        },
    }


def _evidence(name: str, prover: PlainProver) -> Any:
    node = SimulatedNode(1, prover=prover)
    done = challenge(node, claims=[node.claim(PLAN)]).evidence[node.node_id]
    signed, typed = sign_evidence(VALIDATOR, done), evidence_typed_data(done)
    message = {
        key: f"0x{value.hex()}" if isinstance(value, bytes) else value
        for key, value in typed["message"].items()
    }
    return {
        "name": name,
        "challenge": _hex(seeds.challenge_id(done.transcript.challenge)),
        "digest": _hex(evidence_digest(done)),
        "typed_data": {**typed, "message": message},
        "typed_digest": _hex(eip712.typed_digest(typed)),
        "signer": checksummed(bytes.fromhex(VALIDATOR.address[2:])),
        "conclusion": done.conclusion.value,
        "faults": [[one.fault.value, one.step, one.device] for one in done.faults],
        "document": _hex(evidence_bytes(signed)),
    }


def validation() -> Any:
    """The file."""
    return {
        "about": "What a hardware challenge derives from seeds, and evidence: docs/design/"
        "validation.md. The documents are canonical CBOR.",
        "derived": _derived(),
        "evidence": [
            _evidence("an honest node", PlainProver()),
            _evidence("a node that fakes every third row", FakesRows(nth=3)),
        ],
    }
