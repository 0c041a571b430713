"""Documents of evidence come and go by their digests, in parts, and within what an agent allows."""

from pathlib import Path

import attrs
import pytest
import trio

from p2pool.agent.streams.evidence import parts_of
from p2pool.codec.validation import evidence_bytes
from p2pool.model import limits
from p2pool.model.errors import Malformed, NotFound, Overloaded
from p2pool.model.ids import Digest, NodeId
from p2pool.model.messages.verdicts import (
    EvidenceAnswered,
    EvidenceOffered,
    EvidencePart,
    EvidenceRequested,
    VerdictCode,
)
from p2pool.wire.validation.verdict import verdict_of
from tests.agent.streams.evidence_agents import (
    DOCUMENT,
    MEMBERS,
    OTHER,
    PEERS,
    VERDICT,
    Agents,
    offer,
    pair,
)


@pytest.fixture
def agents(tmp_path: Path) -> Agents:
    return Agents(tmp_path)


async def test_a_document_is_brought_and_fetched(
    agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In parts; whoever fetched it keeps it, and gives it on."""
    monkeypatch.setattr(limits, "EVIDENCE_PART_MAX_BYTES", 200)
    holder, reader = await agents.make(3), await agents.make(0)
    assert [one.accepted for one in await offer(holder)] == [True, True]
    assert holder.is_here(VERDICT.verdict.evidence)
    assert await reader.document(VERDICT.verdict.evidence) == DOCUMENT
    assert agents.opened == [*PEERS[1:4]]
    assert reader.is_here(VERDICT.verdict.evidence)
    assert await reader.document(VERDICT.verdict.evidence) == DOCUMENT
    assert len(agents.opened) == 3
    assert len(parts_of(DOCUMENT)) > 3


async def test_what_is_not_wanted_is_said_before_a_byte_comes(
    agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a verdict, too large, or here already; too many at a time."""
    here = await agents.make(0)
    stranger = attrs.evolve(
        VERDICT, verdict=attrs.evolve(VERDICT.verdict, evidence=Digest(bytes(32)))
    )
    large = limits.EVIDENCE_KEPT_DOCUMENT_MAX_BYTES + 1
    assert (await offer(here, stranger))[0].code == VerdictCode.NO_VERDICT
    assert (await offer(here, size=large))[0].code == VerdictCode.NO_ROOM
    monkeypatch.setattr(limits, "EVIDENCE_TAKEN_AT_ONCE_MAX", 0)
    assert (await offer(here))[0].code == VerdictCode.BUSY
    monkeypatch.undo()
    await offer(here)
    assert (await offer(here))[0].code == VerdictCode.KNOWN


async def test_a_stranger_brings_nothing_and_holds_nobody_up(agents: Agents) -> None:
    """A verdict is there for all to read; only its validator, or a member, brings its document, one
    at a time of a peer; and who is slow about that keeps nobody from fetching."""
    here, holder = await agents.make(0), await agents.make(1)
    stranger, (member,) = NodeId(b"\x07" * 20), MEMBERS
    assert (await offer(here, account=stranger))[0].code == VerdictCode.STRANGER
    assert (await offer(holder, account=member))[-1].accepted
    talks = [pair() for _ in range(limits.EVIDENCE_TAKEN_AT_ONCE_MAX)]
    said = EvidenceOffered(VERDICT, len(DOCUMENT))
    async with trio.open_nursery() as nursery:
        for number, (ours, theirs) in enumerate(talks):
            theirs.peer_key = PEERS[number]
            nursery.start_soon(here.take, said, theirs)  # type: ignore[arg-type]
            answer = await ours.expect(1_000)
            assert isinstance(answer, EvidenceAnswered)
            assert answer.accepted
        assert (await offer(here))[0].code == VerdictCode.BUSY
        assert await here.document(VERDICT.verdict.evidence) == DOCUMENT
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "wrong", [DOCUMENT[:-1] + b"x", DOCUMENT[:-300], evidence_bytes(OTHER), b"{}", b""]
)
async def test_other_bytes_than_the_validator_signed_are_not_kept(
    agents: Agents, wrong: bytes
) -> None:
    """Changed, in its signature too, cut, another document, or none."""
    here = await agents.make(0)
    answers = await offer(here, document=wrong)
    assert answers[1].code == VerdictCode.OTHER_DIGEST
    assert not here.is_here(VERDICT.verdict.evidence)


async def test_more_than_was_stated_ends_the_stream(agents: Agents) -> None:
    """And nothing of it is kept, nor does its place stay taken."""
    here = await agents.make(0)
    for _ in range(limits.EVIDENCE_TAKEN_AT_ONCE_MAX + 1):
        with (
            pytest.RaisesGroup(Malformed)
            if hasattr(pytest, "RaisesGroup")
            else pytest.raises(BaseExceptionGroup)
        ):
            await offer(here, size=len(DOCUMENT) - 1)
    assert [one.accepted for one in await offer(here)] == [True, True]


async def test_members_that_lie_or_are_away_cost_a_try(agents: Agents) -> None:
    """The next one is asked; when all those few were, the reader is told."""
    reader, digest = await agents.make(0), VERDICT.verdict.evidence
    agents.down.add(PEERS[1])
    agents.gives[PEERS[2]] = [
        EvidenceAnswered(True, len(DOCUMENT), ""),
        EvidencePart(DOCUMENT[:-100], True),
    ]
    agents.gives[PEERS[3]] = [EvidencePart(b"", True)]
    with pytest.raises(NotFound, match="4 members"):
        await reader.document(digest)
    assert agents.opened == list(PEERS[1:5])
    holder = await agents.make(4)
    await offer(holder)
    assert await reader.document(digest) == DOCUMENT


async def test_a_digest_that_no_verdict_names_is_asked_of_nobody(agents: Agents) -> None:
    """Or anybody could make an agent ask its members for anything."""
    reader = await agents.make(0)
    with pytest.raises(NotFound, match="no verdict"):
        await reader.document(Digest(bytes(32)))
    assert agents.opened == []


async def test_readers_do_not_crowd_an_agent(
    agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many documents are fetched at a time, and drawn by one member in a while."""
    reader, holder = await agents.make(0), await agents.make(1)
    await offer(holder)
    monkeypatch.setattr(limits, "EVIDENCE_TAKEN_AT_ONCE_MAX", 0)
    with pytest.raises(Overloaded):
        await reader.document(VERDICT.verdict.evidence)
    monkeypatch.setattr(holder._drawn, "burst", 2 + len(DOCUMENT) // 1024)
    monkeypatch.setattr(holder._drawn, "per_s", 0)
    codes = []
    for _ in range(2):
        ours, theirs = pair()
        await holder.give(EvidenceRequested(VERDICT.verdict.evidence), theirs)  # type: ignore[arg-type]
        answer = await ours.expect(1_000)
        assert isinstance(answer, EvidenceAnswered)
        codes.append(answer.code)
    assert codes == ["", VerdictCode.BUSY]


async def test_a_validator_that_contradicts_itself_is_noted(agents: Agents) -> None:
    """Two documents on one challenge: each names the other."""
    here = await agents.make(0)
    await offer(here)
    await offer(here, verdict_of(OTHER), evidence_bytes(OTHER))
    first, second = VERDICT.verdict.evidence, verdict_of(OTHER).verdict.evidence
    assert here.contradicts(first) == second
    assert here.contradicts(second) == first
    assert here.contradicts(Digest(bytes(32))) is None


async def test_a_folder_that_cannot_be_used_stops_nothing_else(agents: Agents) -> None:
    """Nothing is kept then; what is fetched is given to the reader all the same."""
    (agents.path / "0").write_text("a file")
    reader, holder = await agents.make(0), await agents.make(1)
    await offer(holder)
    assert (await offer(reader))[0].code == VerdictCode.NO_ROOM
    assert await reader.document(VERDICT.verdict.evidence) == DOCUMENT
    assert not reader.is_here(VERDICT.verdict.evidence)
