"""The reference prover gives the bytes that a checker derives, and carries a whole challenge."""

import io
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from p2pool.model.ids import Address, Digest, PeerKey
from p2pool.model.machine.hardware import Gpu
from p2pool.model.validation.evidence import Conclusion
from p2pool.proofs.validation import derivation, merkle
from p2pool.proofs.validation.answers import NodeAnswers, ProverRequest
from p2pool.validator.challenge import rounds
from p2pool.validator.challenge.figures import Figures, FigureTable
from p2pool.validator.challenge.plan import Sizes, plan_for
from p2pool.wire.validation.evidence import sign_commitment, verifies
from tests.validator.harness.nodes import VALIDATOR, SimulatedNode
from tests.wire.samples import NOW_MS, POOL

np = pytest.importorskip("numpy", reason="the reference prover needs NumPy")

from prover import protocol, reference  # noqa: E402

SEED = bytes(range(32))


def test_matrices_and_products_are_equal_to_the_last_bit() -> None:
    """By whole arrays and in floats, or row by row and in integers."""
    left = reference.left_matrix(SEED, 5, 4096)
    right = reference.right_matrix(SEED, 4096, 8)
    for row in range(5):
        assert left[row].tolist() == list(derivation.left_row(SEED, row, 4096))
    assert right[9].tolist() == list(derivation.right_row(SEED, 9, 8))
    exact = left.astype(np.int64) @ right.astype(np.int64)
    assert (reference.exact_product(left, right) == exact).all()


def test_the_largest_sums_are_exact() -> None:
    """Where every entry is as far from zero as it can be, floats still hold every sum."""
    low = np.full((2, 4096), -128, dtype=np.int8)
    made = reference.exact_product(low, np.ascontiguousarray(low.T))
    assert (made == 4096 * 128 * 128).all()
    mixed = low.copy()
    mixed[:, ::3] = 127
    exact = mixed.astype(np.int64) @ low.T.astype(np.int64)
    assert (reference.exact_product(mixed, low.T) == exact).all()


def test_memory_and_fingerprints_are_equal_to_the_last_bit() -> None:
    """Block by block, for more blocks than one group has."""
    made = [derivation.memory_block(SEED, block, 128, 2) for block in range(70)]
    assert [reference.memory_block(SEED, block, 128, 2) for block in range(70)] == made
    memory = np.frombuffer(b"".join(made), dtype="<u4").reshape(70, 32)
    wanted = b"".join(derivation.fingerprint(SEED, block) for block in made)
    assert reference.fingerprints(SEED, memory) == wanted
    groups = [merkle.leaf_digest(wanted[:512]), merkle.leaf_digest(wanted[512:])]
    assert reference.group_leaves(wanted) == groups


# --- a whole challenge, in real time ------------------------------------------------------------

CPU = "CPU"
SIZES = Sizes(
    rows=64,
    inner=256,
    columns=64,
    block_bytes=1024,
    round_ms=50,
    product_rounds=2,
    scan_rounds=1,
    rows_opened=20,
    blocks_opened=10,
    slack_ms=1_000,
)


def calibrated(prover: Any) -> FigureTable:
    """What this machine does just now, measured with the prover itself."""
    prover.load(0, SEED, SIZES.inner, SIZES.columns)
    prover.fill(0, SEED, 64, SIZES.block_bytes, 1)
    began = time.perf_counter()
    prover.multiply(0, SEED, 4, SIZES.rows)
    multiplied = time.perf_counter()
    prover.scan(0, SEED, 4)
    scanned = time.perf_counter()
    operations = 2 * 4 * SIZES.rows * SIZES.inner * SIZES.columns
    row = Figures(
        names=(CPU,),
        int8_ops_per_s=int(operations / (multiplied - began)),
        memory_bytes=64 * SIZES.block_bytes,
        memory_bytes_per_s=int(4 * 64 * SIZES.block_bytes / (scanned - multiplied)),
        hashes_per_s_max=10_000,
        product_permille=50,
        memory_permille=50,
        source="this run",
    )
    return FigureTable(1, (row,))


def perform(prover: Any, workers: ThreadPoolExecutor, request: ProverRequest) -> Any:
    """A request as a line, and the shares of the answer."""
    line = json.dumps({"id": 7, "op": request.op, "shares": request.shares}).encode()
    made = json.loads(json.dumps(protocol.answer(prover, workers, line)))
    assert set(made) == {"id", "shares"}, made
    return made["shares"]


def test_a_real_prover_passes_a_real_challenge() -> None:
    """Two devices, over the line protocol, with bounds from a calibration in the same run."""
    prover, node = reference.ReferenceProver(2, 64 * 1024), SimulatedNode(1)
    claims = [Gpu(f"CPU-{number}", CPU, 64 * 1024) for number in range(2)]
    plan = plan_for(claims, calibrated(prover), SIZES)
    machine = rounds.ChallengeRounds(
        validator=rounds.Validator(
            POOL, Address(bytes.fromhex(VALIDATOR.address[2:])), PeerKey(bytes(32)), "sha256:1"
        ),
        claims=[rounds.Claim(node.node_id, node.peer_key, plan)],
        entropy=random.Random(4).randbytes(32),
        verifies=verifies,
        started_ms=now_ms(),
        wall_ms=NOW_MS,
    )
    effects, answers = machine.start(), None
    with ThreadPoolExecutor() as workers:
        while not isinstance(effects[0], rounds.Ended):
            (effect,) = effects
            if isinstance(effect, rounds.OpenChannel):
                said: rounds.Input = rounds.ChannelOpened(
                    node.node_id, node.peer_key, Digest(bytes(32))
                )
            elif isinstance(effect, rounds.SendChallenge):
                answers = NodeAnswers(effect.challenge)
                for request in answers.preparations():
                    made = perform(prover, workers, request)
                said = committed(node, answers, made)
            elif isinstance(effect, rounds.Ask):
                assert answers is not None
                made = perform(prover, workers, answers.round(effect.question))
                said = committed(node, answers, made)
            else:
                assert isinstance(effect, rounds.Reveal)
                assert answers is not None
                asked = answers.opening_requests(effect.secret)
                shown = answers.openings([perform(prover, workers, one) for one in asked])
                said = rounds.Opened(node.node_id, shown)
            effects = machine.step(said, now_ms())
    (ended,) = effects
    assert isinstance(ended, rounds.Ended)
    assert ended.transcript is not None
    evidence = rounds.conclude(ended.transcript, node.binding, verifies, NOW_MS)
    assert evidence.conclusion is Conclusion.VALID, evidence.faults
    assert len(evidence.transcript.openings.rows) == 40


def now_ms() -> int:
    """This machine's own clock."""
    return time.monotonic_ns() // 1_000_000


def committed(node: SimulatedNode, answers: NodeAnswers, made: Any) -> rounds.Input:
    """The signed answer of a step."""
    return rounds.Committed(node.node_id, sign_commitment(node.key, answers.commitment(made)))


# --- the protocol -------------------------------------------------------------------------------


def ask(*lines: bytes) -> list[dict[str, Any]]:
    """The answers of a prover to lines on its input."""
    sink = io.BytesIO()
    prover = reference.ReferenceProver(2, 1024)
    protocol.serve(prover, io.BytesIO(b"\n".join(lines) + b"\n"), sink)
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def test_a_prover_says_what_its_devices_are() -> None:
    """By the names that a claim has, in an order that stays."""
    (made,) = ask(b'{"id": 3, "op": "devices"}')
    assert made["id"] == 3
    assert [one["uuid"] for one in made["devices"]] == ["CPU-0", "CPU-1"]


SHARE = {"device": 0, "seed": "00" * 32, "inner": 4, "columns": 4}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "one request as JSON"),
        (b"\xff", "one request as JSON"),
        (b'{"op": "devices"}', "number as its id"),
        (b'{"id": 1, "op": "sudo", "shares": []}', "one of devices"),
        (b'{"id": 1, "op": "load", "shares": []}', "1 to 64 shares"),
        ({"device": 2}, "2 devices"),
        ({"device": True}, "2 devices"),
        ({"seed": "00"}, "32 bytes"),
        ({"inner": 2**20}, "inner is a number"),
        ({"inner": 0}, "inner is a number"),
        ({"more": 1}, "and no more"),
        (b'{"id": 1, "op": "load", "x": "' + b"a" * 1024 * 1024 + b'"}', "at most"),
    ],
)
def test_what_is_no_request_is_refused_and_the_next_is_answered(line: Any, why: str) -> None:
    """A sentence says what is wrong; the prover goes on."""
    if isinstance(line, dict):
        line = json.dumps({"id": 1, "op": "load", "shares": [SHARE | line]}).encode()
    refused, good = ask(line, b'{"id": 2, "op": "devices"}')
    assert why in refused["error"]
    assert good["id"] == 2


def test_a_round_needs_its_matrix_and_a_scan_its_memory() -> None:
    """What comes out of order is refused with what is missing."""
    seed = "00" * 32
    requests: list[tuple[str, dict[str, Any], str]] = [
        ("multiply", {"products": 1, "rows": 1}, "load it first"),
        ("scan", {"passes": 1}, "fill it first"),
        ("rows", {"wanted": [[0, 0]]}, "not computed here"),
        ("blocks", {"wanted": [[0, 0]]}, "not made here"),
    ]
    for op, sizes, why in requests:
        share = {"device": 0, "seed": seed, **sizes}
        (made,) = ask(json.dumps({"id": 1, "op": op, "shares": [share]}).encode())
        assert why in made["error"]


def test_the_prover_imports_nothing_of_ours() -> None:
    """It runs in a container of its own."""
    from pathlib import Path

    folder = Path(protocol.__file__).parent
    for path in folder.glob("*.py"):
        assert "import p2pool" not in path.read_text()
        assert "from p2pool" not in path.read_text()
