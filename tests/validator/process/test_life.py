"""A validator's process on a real chain and a real network: what it does about nodes, and again
after it died."""

import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import trio

from p2pool.codec.validation import evidence_of
from p2pool.model.errors import NotAllowed, NotFound
from p2pool.model.ids import NodeId
from p2pool.model.validation.evidence import Conclusion
from p2pool.validator.policy.acts import ActKind, ActState
from p2pool.validator.policy.findings import FindingKind
from p2pool.validator.policy.rules import Conduct
from p2pool.validator.process.validator import check_node, run_validator
from p2pool.wire.evm.key_signer import signer_of
from p2pool.wire.validation.evidence import verify_evidence
from tests.cli.provider.desk import Desk
from tests.validator.harness.hosts import until
from tests.validator.harness.provers import FakesRows
from tests.validator.process.conftest import HANGS_S, Stage, acting, running

pytestmark = pytest.mark.chain


async def test_a_node_goes_from_registered_to_validated(stage: Stage) -> None:
    """By challenges alone, once: it hears its verdicts, each document holds up before a stranger,
    and a restart sends nothing more."""
    _, host = await stage.node(1)
    node_id = host.binding.node_id
    assert not await stage.validated(node_id)
    async with host.running():
        before = await stage.sent()
        async with running(stage.options(host.address())) as process:
            await until(lambda: stage.validated(node_id))
            await until(lambda: not process.turns.executor.journal.open_acts)
            records = list(process.records.found.values())
            assert {one.finding.kind for one in records} == {FindingKind.PASSED}
            assert len(records) >= 2
            for record in records:
                signed = evidence_of(process.records.document(record).read_bytes())
                assert verify_evidence(stage.pool, signed).conclusion is Conclusion.VALID
            await until(lambda: b'state="done"' in process.metrics.render())
        assert host.double.verdict is not None
        assert host.double.verdict.verdict.verdict.conclusion is Conclusion.VALID
        assert await stage.sent() == before + 1
        async with running(stage.options(host.address())) as process:
            assert [one.finding.finding_id for one in records] == [*process.records.found][
                : len(records)
            ]
            (taken,) = process.turns.executor.journal.taken
            assert (taken.act.kind, taken.state) == (ActKind.VALIDATE, ActState.DONE)
        assert await stage.sent() == before + 1


async def test_a_cheat_is_put_out_once_and_the_honest_stay(stage: Stage) -> None:
    """Both are members, of one provider, challenged at the same time; the second is found by what
    the first one tells of it. It loses stake by its own signature, and its verdict is offered."""
    provider, honest = await stage.node(1, member=True)
    _, cheat = await stage.node(2, provider, member=True, prover=FakesRows(nth=2))
    honest.introduces = (cheat,)
    rules = attrs.evolve(
        acting().rules, wrong_product=attrs.evolve(acting().rules.wrong_product, act="soft")
    )
    async with honest.running(), cheat.running():
        before = await stage.sent()
        options = stage.options(honest.address(), policy=acting(rules=rules))
        async with running(options) as process:
            await until(lambda: _not(stage, cheat.binding.node_id))
            await until(lambda: honest.offered and honest.documents)
            await until(lambda: not process.turns.executor.journal.open_acts)
            taken = process.turns.executor.journal.taken
            assert [one.act.kind for one in taken] == [ActKind.SLASH, ActKind.INVALIDATE]
            assert await stage.validated(honest.binding.node_id)
            found = process.records.newest()
            assert found[cheat.binding.node_id].finding.proven
            assert found[honest.binding.node_id].finding.kind is FindingKind.PASSED
            for document in honest.documents:
                verify_evidence(stage.pool, evidence_of(document))
        assert await stage.sent() == before + 2


async def _not(stage: Stage, node_id: NodeId) -> bool:
    return not await stage.validated(node_id)


async def test_a_dry_run_sends_nothing_and_says_so(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty policy is one: what would be done is in the journal as shown."""
    _, host = await stage.node(1)
    dry = attrs.evolve(acting(), policy=Conduct())
    async with host.running():
        before = await stage.sent()
        async with running(stage.options(host.address(), policy=dry)) as process:
            await until(lambda: process.turns.executor.journal.taken)
            (taken,) = process.turns.executor.journal.taken
            assert taken.state is ActState.SHOWN
        assert await stage.sent() == before
    assert not await stage.validated(host.binding.node_id)


async def test_who_is_in_the_pool_and_cannot_be_reached_is_offline(stage: Stage) -> None:
    """As long as we reach somebody; who waits and shows itself nowhere is another pool's."""
    _, host = await stage.node(1, member=True)
    _, gone = await stage.node(2, member=True)
    await stage.node(3)
    async with host.running():
        stop = trio.Event()
        found = await run_validator(stage.options(host.address()), stop, once=True)
    kinds = {one.record.finding.node_id: one.record.finding.kind for one in found}
    assert kinds[host.binding.node_id] is FindingKind.PASSED
    assert kinds[gone.binding.node_id] is FindingKind.OFFLINE
    assert len(kinds) == 2


async def test_where_nobody_answered_nobody_is_called_offline(stage: Stage) -> None:
    """Whom we reach does not say where nodes are, as one that is busy: nothing follows from it."""
    _, host = await stage.node(1, member=True)
    _, gone = await stage.node(2, member=True)
    host.mute = True
    async with host.running():
        found = await run_validator(stage.options(host.address()), trio.Event(), once=True)
    kinds = {one.record.finding.node_id: one.record.finding.kind for one in found}
    assert kinds[host.binding.node_id] is FindingKind.PASSED
    assert kinds[gone.binding.node_id] is FindingKind.INCONCLUSIVE


async def test_an_account_without_the_role_is_told(stage: Stage) -> None:
    """Before anything else, and nothing is made of its directory."""
    stranger = await stage.world.account()
    options = attrs.evolve(stage.options(), account=signer_of(stranger._account))
    with pytest.raises(NotAllowed, match="VALIDATOR_ROLE"):
        await run_validator(options, trio.Event())
    assert not options.directory.exists()


async def test_a_check_by_hand_says_what_it_found(stage: Stage) -> None:
    """Of a member or not; a node that the registry does not have is told."""
    _, host = await stage.node(1)
    async with host.running():
        options = stage.options(host.address())
        found = await check_node(options, host.binding.node_id)
        assert found.signed is not None
        assert found.record.finding.kind is FindingKind.PASSED
        host.double.fails = "declines:leased"
        found = await check_node(options, host.binding.node_id)
        assert (found.signed, found.outcome.code) == (None, "leased")
        with pytest.raises(NotFound, match="registry has no node"):
            await check_node(options, NodeId(b"\x77" * 20))


async def test_a_process_that_is_killed_in_a_challenge_leaves_no_harm(
    stage: Stage, tmp_path: Path
) -> None:
    """By SIGKILL, in the middle of one: the next process takes the directory, finds nothing half
    written, and goes on to validate the node."""
    _, host = await stage.node(1, fails="hangs")
    host.double.steps = 0
    desk = Desk.of(stage.world, tmp_path)
    key = desk.key_of(stage.world.deployment.federator, "validator.json")
    options = stage.options()
    figures = Path(__file__).parent / "figures.json"
    async with host.running():
        with (tmp_path / "p2pool.toml").open("a") as file:
            file.write(f"\n[network]\nbootstrap = ['{host.address()}']\n")
        words = [
            "validator",
            "run",
            "--data-dir",
            str(options.directory),
            "--figures",
            str(figures),
        ]
        environment = {
            **os.environ,
            "P2POOL_CONFIG": str(tmp_path / "p2pool.toml"),
            "P2POOL_KEY": str(key),
            "P2POOL_PASSPHRASE_FILE": str(tmp_path / "passphrase"),
            "P2POOL_AGENT": str(tmp_path / "agent"),
        }
        code = "from p2pool.cli.main import main; main()"
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", code, *words], env=environment, stdout=subprocess.DEVNULL
        )
        try:
            with trio.fail_after(HANGS_S):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_lives, process)
                    await host.asked.wait()
                    nursery.cancel_scope.cancel()
        finally:
            process.kill()
            await process.wait()
        assert list((options.directory / "evidence").glob("*/*")) == []
        host.double.fails = ""
        node_id = host.binding.node_id
        async with running(stage.options(host.address())) as restarted:
            await until(lambda: stage.validated(node_id))
            kinds = {one.finding.kind for one in restarted.records.found.values()}
            # A machine that is too busy to dial finds nodes offline; what it heard is all right.
            assert FindingKind.PASSED in kinds
            assert kinds <= {FindingKind.PASSED, FindingKind.INCONCLUSIVE, FindingKind.OFFLINE}


async def _lives(process: trio.Process) -> None:
    """Nobody waits for what a process that has ended would do."""
    raise AssertionError(f"The process has ended by itself: {await process.wait()}")
