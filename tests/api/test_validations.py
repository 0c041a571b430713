"""Readers get what validators say, filtered and in pages, and the evidence from wherever it is."""

from functools import partial
from typing import Any

import attrs
import pytest
import trio

from p2pool.codec.json.hex import address_text
from p2pool.model.errors import NotFound, Refusal
from p2pool.model.ids import NodeId
from p2pool.model.ports.evidence import VerdictTable, VerdictView
from p2pool.model.validation.conclusion import Conclusion
from p2pool.model.validation.verdict import SignedVerdict
from tests.api.conftest import Served
from tests.wire.samples import NOW_MS
from tests.wire.validation.verdicts import address_of, validator, verdict_by

thread = trio.to_thread.run_sync
NODES = [NodeId(bytes([number]) * 20) for number in (1, 2, 3)]
DOCUMENT = bytes(200_000)


def said() -> list[SignedVerdict]:
    """Two validators on three nodes; the second one finds the third node invalid."""
    ends = {(2, NODES[2]): Conclusion.INVALID}
    return [
        verdict_by(
            validator(number),
            node_id,
            NOW_MS,
            conclusion=ends.get((number, node_id), Conclusion.VALID),
        )
        for node_id in NODES
        for number in (1, 2)
    ]


@pytest.fixture
def verdicts(served: Served) -> list[SignedVerdict]:
    given = sorted(said(), key=lambda one: (one.verdict.node_id, one.verdict.validator))
    first = address_of(validator(1))
    table = VerdictTable(VerdictView(one, one.verdict.validator == first) for one in given)
    served.port.seen = attrs.evolve(served.port.seen, verdicts=table)
    return given


async def read(served: Served, **query: Any) -> list[Any]:
    answer = await thread(lambda: served.client.get("/v1/validations", **query))
    found: list[Any] = answer["validations"]
    return found


async def test_a_verdict_is_told_as_it_was_signed(
    served: Served, verdicts: list[SignedVerdict]
) -> None:
    """With all that a stranger needs to check the signature, and what the agent knows besides."""
    one, other = (signed.verdict.evidence for signed in verdicts[:2])
    served.port.evidence.here[one] = DOCUMENT
    served.port.evidence.pairs[one] = other
    first = (await read(served))[0]
    verdict = verdicts[0].verdict
    assert first == {
        "node_id": address_text(verdict.node_id),
        "validator": address_text(verdict.validator),
        "conclusion": "valid",
        "concluded_at_ms": verdict.concluded_at_ms,
        "evidence": one.hex(),
        "signature": verdicts[0].signature.hex(),
        "confirmed": verdict.validator == address_of(validator(1)),
        "evidence_here": True,
        "contradicted_by": other.hex(),
    }


async def test_filters_fit_together(served: Served, verdicts: list[SignedVerdict]) -> None:
    """By node, validator and conclusion; none that fits is an empty list, and no error."""
    node, by = address_text(NODES[2]), address_text(address_of(validator(2)))
    assert len(await read(served, node=node)) == 2
    assert len(await read(served, validator=by)) == 3
    (one,) = await read(served, conclusion="invalid")
    assert (one["node_id"], one["validator"]) == (node, by)
    assert await read(served, node=node, validator=by, conclusion="valid") == []
    assert await read(served, node="0x" + "ff" * 20) == []


async def test_pages_hold_each_once(served: Served, verdicts: list[SignedVerdict]) -> None:
    """By node and validator, with and without a filter."""
    for query in ({}, {"node": address_text(NODES[1])}):
        whole, found, after = await read(served, **query), [], ""
        while True:
            asked = {**query, "limit": "1", "after": after}
            page = await thread(partial(served.client.get, "/v1/validations", **asked))
            found += page["validations"]
            if page["next"] is None:
                break
            after = page["next"]
        assert found == whole


@pytest.mark.parametrize(
    "query",
    [
        {"conclusion": "good"},
        {"after": "0x12"},
        {"limit": "0"},
        {"node": "0x12"},
        {"node": ""},
        {"validator": "nobody"},
    ],
    ids=str,
)
async def test_what_means_nothing_is_refused(served: Served, query: dict[str, str]) -> None:
    """And says which parameter it is."""
    with pytest.raises(Refusal, match=next(iter(query))):
        await read(served, **query)


async def test_evidence_is_given_from_wherever_it_is(
    served: Served, verdicts: list[SignedVerdict]
) -> None:
    """Whole, to the byte; where nobody has it, the error is one."""
    here, elsewhere, nowhere = (signed.verdict.evidence for signed in verdicts[:3])
    served.port.evidence.here[here] = DOCUMENT
    served.port.evidence.elsewhere[elsewhere] = DOCUMENT[1:]
    for digest, expected in ((here, DOCUMENT), (elsewhere, DOCUMENT[1:])):
        given = await thread(b"".join, served.client.validation(digest.hex()))
        assert given == expected
    with pytest.raises(NotFound, match="members"):
        await thread(lambda: list(served.client.validation(nowhere.hex())))
    with pytest.raises(NotFound, match="64 hex digits"):
        await thread(lambda: list(served.client.validation("12")))
    found = await thread(served.client.validations, address_text(NODES[0]))
    assert len(found) == 2
