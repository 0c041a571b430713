"""What validators say is shown with its age and whose word it is, and that nobody says anything."""

from pathlib import Path

import attrs
import pytest

from p2pool.cli.node.group import node
from p2pool.cli.node.verdicts import verdict_pairs
from p2pool.cli.validation import validation
from p2pool.codec.json.hex import address_text
from p2pool.model.errors import NotFound
from p2pool.model.ids import Digest
from p2pool.model.ports.evidence import VerdictTable, VerdictView
from p2pool.model.validation.conclusion import Conclusion
from p2pool.model.validation.verdict import SignedVerdict
from tests.api.conftest import Served
from tests.api.fakes import OTHER_NODE
from tests.cli.output.held import held
from tests.client.conftest import Commands, served
from tests.wire.samples import NODE_ID, NOW_MS
from tests.wire.validation.verdicts import address_of, validator, verdict_by

__all__ = ["served"]

NODE, OTHER = f"0x{NODE_ID.hex()}", f"0x{OTHER_NODE.hex()}"
DOCUMENT = b"a document" * 1_000


@pytest.fixture
def verdicts(served: Served) -> list[SignedVerdict]:
    """One validator on both nodes, whom the chain confirms, and one on the other node, who
    contradicts itself."""
    given = [
        verdict_by(validator(1), NODE_ID),
        verdict_by(validator(1), OTHER_NODE),
        verdict_by(validator(2), OTHER_NODE, NOW_MS, conclusion=Conclusion.INVALID),
    ]
    first = address_of(validator(1))
    table = VerdictTable(VerdictView(one, one.verdict.validator == first) for one in given)
    served.port.seen = attrs.evolve(served.port.seen, verdicts=table)
    served.port.evidence.pairs[given[2].verdict.evidence] = Digest(bytes(32))
    served.port.evidence.here[given[0].verdict.evidence] = DOCUMENT
    return given


async def test_a_node_is_shown_with_each_validators_word(
    served: Served, commands: Commands, verdicts: list[SignedVerdict]
) -> None:
    """Conclusion and age, and what there is to know about who says so; as JSON whole."""
    shown = (await commands(node, "show", OTHER)).stdout
    assert "valid, " in shown
    assert "invalid, " in shown
    assert "the chain has not confirmed the validator yet" in shown
    assert "contradicted by the validator itself" in shown
    told = held((await commands(node, "show", OTHER, "--json")).stdout)
    assert {one["conclusion"] for one in told["validations"]} == {"valid", "invalid"}
    lines = [value for _, value in verdict_pairs(told["validations"])]
    assert sum("confirmed" in line for line in lines) == 1


async def test_that_nobody_says_anything_is_said(served: Served, commands: Commands) -> None:
    """It is neither good nor bad; an agent that knows no validators is told apart from that."""
    shown = (await commands(node, "show", OTHER)).stdout
    assert "no validator's verdict on it is known here" in " ".join(shown.split())
    assert "hears no validators" in verdict_pairs(None)[0][1]
    told = held((await commands(node, "show", OTHER, "--json")).stdout)
    assert told["validations"] == []


async def test_verdicts_are_listed(
    served: Served, commands: Commands, verdicts: list[SignedVerdict]
) -> None:
    """All, and by node, validator and conclusion; what is no id is refused before anybody is
    asked."""
    assert len(held((await commands(validation, "ls", "--json")).stdout)) == 3
    by = address_text(address_of(validator(2)))
    for words, count in (
        (("--node", NODE), 1),
        (("--validator", by), 1),
        (("--conclusion", "valid"), 2),
        (("--node", OTHER, "--conclusion", "inconclusive"), 0),
    ):
        found = held((await commands(validation, "ls", *words, "--json")).stdout)
        assert len(found) == count, words
    shown = (await commands(validation, "ls", "--wide")).stdout
    assert "CONCLUSION" in shown
    assert verdicts[0].verdict.evidence.hex()[:16] in shown
    empty = (await commands(validation, "ls", "--conclusion", "inconclusive")).output
    assert "No such verdict" in empty
    refused = await commands(validation, "ls", "--node", "node-1")
    assert refused.exit_code == 2
    assert "--node" in refused.output


async def test_evidence_is_fetched_whole(
    served: Served, commands: Commands, verdicts: list[SignedVerdict], tmp_path: Path
) -> None:
    """By the beginning of its digest; what fails leaves no file."""
    out, digest = tmp_path / "evidence", verdicts[0].verdict.evidence.hex()
    told = held((await commands(validation, "get", digest[:12], "-o", str(out), "--json")).stdout)
    assert out.read_bytes() == DOCUMENT
    assert (told["evidence"], told["bytes"]) == (digest, len(DOCUMENT))
    piped = await commands(validation, "get", digest)
    assert piped.stdout_bytes == DOCUMENT
    missing, none = tmp_path / "none", verdicts[1].verdict.evidence.hex()
    failed = await commands(validation, "get", none, "-o", str(missing))
    assert isinstance(failed.exception, NotFound)
    unknown = await commands(validation, "get", "00" * 8, "-o", str(missing))
    assert isinstance(unknown.exception, NotFound)
    assert [path.name for path in tmp_path.glob("none*")] == []
    assert (await commands(validation, "get", "xyz")).exit_code == 2
    assert (await commands(validation, "get", digest, "--json")).exit_code == 2
