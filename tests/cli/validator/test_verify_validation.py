"""`p2pool verify validation`: a stranger's check, which asks nobody unless it is told to."""

from pathlib import Path

import attrs
import pytest
import trio
from click.testing import CliRunner, Result

from p2pool.cli import errors, main
from p2pool.codec.json.hex import address_text
from p2pool.codec.validation import evidence_bytes, evidence_digest
from p2pool.drivers.chain.validator.roles import Role
from p2pool.model.errors import (
    BadSignature,
    ChainUnavailable,
    Malformed,
    Misconfigured,
    NotAllowed,
    P2poolError,
)
from p2pool.model.validation.conclusion import Conclusion
from p2pool.model.validation.evidence import Evidence
from p2pool.wire.validation.evidence import sign_evidence
from tests.cli.output.held import held
from tests.docs.generator.validation import PLAN
from tests.validator.harness.nodes import VALIDATOR, SimulatedNode, challenge
from tests.validator.harness.provers import FakesRows, PlainProver
from tests.wire.samples import ACCOUNT


def evidence_against(prover: PlainProver) -> Evidence:
    """Of a node with this prover."""
    node = SimulatedNode(1, prover=prover)
    return challenge(node, claims=[node.claim(PLAN)]).evidence[node.node_id]


HONEST, CHEAT = evidence_against(PlainProver()), evidence_against(FakesRows(nth=3))
GOOD = evidence_bytes(sign_evidence(VALIDATOR, HONEST))


def verify(file: Path, *more: str) -> Result:
    return CliRunner().invoke(main.cli, ["verify", "validation", str(file), *more])


def refused(result: Result) -> tuple[type[BaseException], int]:
    """The error, and the exit code that it ends with."""
    assert isinstance(result.exception, P2poolError), (result.output, result.exception)
    return type(result.exception), errors.exit_code(result.exception)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "evidence.cbor"
    made.write_bytes(GOOD)
    return made


def test_a_good_document_is_told_in_words(file: Path) -> None:
    """Who says what of whom, what was shown at least, and what remains the validator's word."""
    result = verify(file)
    assert result.exit_code == 0, result
    text = " ".join(result.stdout.split())
    assert f"{VALIDATOR.address} concludes that node" in text
    assert "is valid" in text
    assert "Shown at least" in text
    assert "how long each answer took" in text
    assert "--validator-role asks the chain" in text


def test_what_proves_itself_is_told_apart(file: Path) -> None:
    """A wrong row under the node's root is proven; the document is good, so the exit code is 0."""
    file.write_bytes(evidence_bytes(sign_evidence(VALIDATOR, CHEAT)))
    result = verify(file)
    assert result.exit_code == 0, result
    assert "wrong-product" in result.stdout
    assert "proven by the node's own signature" in result.stdout
    told = held(verify(file, "--json").stdout)
    assert told["conclusion"] == "invalid"
    assert {"wrong-product"} == {one["fault"] for one in told["faults"] if one["proven"]}
    assert all(device["shown"] is None for device in told["devices"])


def test_programs_get_all_of_it(file: Path) -> None:
    """With the digest by which a verdict names it."""
    told = held(verify(file, "--json").stdout)
    node_id = HONEST.transcript.challenge.node_id
    assert told["proven"] is True
    assert told["evidence"] == evidence_digest(HONEST).hex()
    assert told["node_id"] == address_text(node_id)
    assert told["validator"] == VALIDATOR.address
    assert told["validator_role"] is None
    assert told["faults"] == []
    assert told["devices"][0]["shown"]["int8_ops_per_s"] > 0


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"{}", GOOD[:-1], GOOD[: len(GOOD) // 2], GOOD + b"\x00", b"\xff" * 999]
)
def test_what_is_no_document_is_said(file: Path, data: bytes) -> None:
    """Cut, longer, foreign or empty: one sentence, and what to do."""
    file.write_bytes(data)
    result = verify(file)
    assert refused(result) == (Malformed, 3)
    assert isinstance(result.exception, Malformed)
    assert "p2pool validation get" in result.exception.hint


def test_a_file_that_is_too_large_is_not_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one that is not there."""
    monkeypatch.setattr("p2pool.model.limits.EVIDENCE_DOCUMENT_MAX_BYTES", len(GOOD) - 1)
    result = verify(file)
    assert refused(result)[0] is Malformed
    assert "larger" in str(result.exception)
    missing = verify(file.with_name("none"))
    assert missing.exit_code == 2 or refused(missing)[0] is Misconfigured


def test_a_lie_is_found_out(file: Path) -> None:
    """Signed by somebody else, or concluding what does not follow."""
    file.write_bytes(evidence_bytes(sign_evidence(ACCOUNT, HONEST)))
    assert refused(verify(file)) == (BadSignature, 3)
    lied = attrs.evolve(HONEST, conclusion=Conclusion.INVALID)
    file.write_bytes(evidence_bytes(sign_evidence(VALIDATOR, lied)))
    assert refused(verify(file))[1] == 3


@pytest.mark.parametrize(
    "words",
    [
        ("--validator-role",),
        ("--rpc", "http://127.0.0.1:1"),
        ("--validator-role", "--rpc", "http://127.0.0.1:1"),
    ],
)
def test_the_roles_options_go_together(file: Path, words: tuple[str, ...]) -> None:
    """Half of them means nothing."""
    result = verify(file, *words)
    assert result.exit_code == 2
    assert "--network" in result.output


ROLE = ("--validator-role", "--network", "0x" + "11" * 20)


@pytest.mark.parametrize(("answers", "expected"), [([True, True], None), ([False], NotAllowed)])
async def test_the_chain_is_asked_for_the_role(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[bool],
    expected: type[Exception] | None,
) -> None:
    """At a finalized block, and each endpoint by itself."""
    result, asked = await _with_roles(file, monkeypatch, answers)
    assert asked == [(Role.VALIDATOR, "finalized")] * len(answers)
    if expected is None:
        assert result.exit_code == 0, result
        assert "the chain gives it" in result.stdout
    else:
        assert refused(result) == (expected, 3)


async def test_endpoints_that_differ_decide_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them lies, and nobody knows which."""
    result, _ = await _with_roles(file, monkeypatch, [True, False])
    assert refused(result) == (ChainUnavailable, 5)


async def _with_roles(
    file: Path, monkeypatch: pytest.MonkeyPatch, answers: list[bool]
) -> tuple[Result, list[tuple[Role, object]]]:
    from p2pool.drivers.chain.provider.facts import Reading

    left, asked = list(answers), []

    async def held_role(chain: object, account: object, role: Role, block: object) -> Reading[bool]:
        asked.append((role, block))
        return Reading.of(True) if left.pop(0) else Reading.absent()

    monkeypatch.setattr("p2pool.drivers.chain.validator.roles.holds_role", held_role)
    rpc = [word for n in range(len(answers)) for word in ("--rpc", f"http://127.0.0.1:{n + 1}")]
    return await trio.to_thread.run_sync(lambda: verify(file, *ROLE, *rpc)), asked
