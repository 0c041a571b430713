"""What a validator calls in threads, run under the watch of `tests/first_run`."""

from pathlib import Path

import pytest

from p2pool.drivers.chain.provider.facts import Reading
from p2pool.drivers.chain.validator.work_since import WorkPart
from p2pool.model.ids import Address
from p2pool.validator.judging import rounds
from p2pool.validator.judging.judge import WorkConclusion, WorkVerdict
from p2pool.validator.judging.judged_work import JudgedWork
from p2pool.validator.judging.rounds import WorkChain, judge_round
from p2pool.validator.judging.trial import Trials
from p2pool.validator.process import others
from p2pool.validator.process.node_offer import Offered
from p2pool.wire.validation.evidence import sign_evidence
from tests.first_run.harness.exercise import exercised
from tests.validator.harness.hosts import until
from tests.validator.harness.nodes import VALIDATOR, SimulatedNode, challenge
from tests.validator.judging.cases import Judge, piece
from tests.validator.process.conftest import Stage, running
from tests.validator.process.told import PROVIDER, Told, node_of, others_of
from tests.wire.samples import NOW_MS, POOL


@pytest.mark.chain
async def test_validator(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node is validated, one that is away is a finding, a verdict is offered, another's heard."""
    provider, host = await stage.node(1)
    _, member = await stage.node(2, provider, member=True)
    await stage.node(3, provider, member=True)
    host.introduces = (member,)

    async def holds(chain: object, account: Address, role: object, block: object) -> Reading[bool]:
        return Reading.of(True)

    signed = sign_evidence(VALIDATOR, *challenge(SimulatedNode(1)).evidence.values())
    agent = Told()
    agent.tells(signed)
    with exercised("validator"):
        async with host.running(), member.running():
            async with running(stage.options(host.address())) as process:
                await until(lambda: stage.validated(host.binding.node_id))
                await until(lambda: not process.turns.executor.journal.open_acts)
                await until(lambda: member.offered)
                await until(lambda: len(process.records.newest()) == 3)
        monkeypatch.setattr(others, "holds_role", holds)
        assert await Offered.of(agent, node_of(signed)) is None
        assert await others_of(agent).look({node_of(signed): PROVIDER})


async def test_judging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece of work is read, judged and kept."""

    async def final(*_: object) -> int:
        return 10

    async def since(*_: object) -> WorkPart:
        return WorkPart(pieces=(piece(1),), next_block=11)

    monkeypatch.setattr(rounds, "final_number", final)
    monkeypatch.setattr(rounds, "work_since", since)
    right = WorkVerdict(WorkConclusion.RIGHT, "it is so")
    with exercised("judging"), JudgedWork.opened(tmp_path, POOL) as kept:
        chain = WorkChain(None)  # type: ignore[arg-type]
        done = await judge_round(
            chain, kept, Trials(Judge(lambda work: right), 10), 5, lambda: NOW_MS
        )
    assert len(done.judged) == 1
