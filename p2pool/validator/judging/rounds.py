"""One round of judging: read what was submitted since the last one, and ask the judge.

    judging = WorkJudging.of(policy.work, WorkChain(contracts, final_depth), directory, pool)
    if judging is not None:                             # None: the policy names no judge
        done, found = await judging.round(me, wall_ms)  # in each round of the process
        findings += found                               # then decide, as for any other

Invariants: a round asks the judge at most `pieces` times, the one that waits longest first; it ends
in bounded time, whatever the judge and the chain do; what the chain does not tell is read in a
later round, and what waits is judged all the same.
"""

from collections.abc import Callable
from pathlib import Path

import attrs
import trio

from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.validator.work_since import WorkPart, final_number, work_since
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable
from p2pool.model.ids import Address, PoolRef
from p2pool.validator.judging.judge import WorkVerdict
from p2pool.validator.judging.judged_work import Judged, JudgedWork
from p2pool.validator.judging.plugins import judge_named
from p2pool.validator.judging.trial import Trials
from p2pool.validator.policy.findings import Finding
from p2pool.validator.policy.rules import WorkRule

log = get_logger(__name__)


@attrs.frozen
class Round:
    """What came of a round. `unread`: why the chain was not read, empty if it was; `postponed`: the
    verdicts of pieces that are asked about again."""

    judged: tuple[Judged, ...]
    postponed: tuple[WorkVerdict, ...]
    waiting: int
    unread: str = ""


@attrs.frozen
class WorkChain:
    """Where pieces are read. `final_depth`: how deep a block lies that is final, where no endpoint
    knows one."""

    contracts: PoolContracts
    final_depth: int | None = None


@attrs.frozen(kw_only=True)
class WorkJudging:
    """A validator's judging of a pool's work, round after round."""

    rule: WorkRule
    chain: WorkChain
    directory: Path
    pool: PoolRef
    trials: Trials

    @classmethod
    def of(
        cls, rule: WorkRule, chain: WorkChain, directory: Path, pool: PoolRef
    ) -> "WorkJudging | None":
        """What a policy asks for; None: nothing. `Misconfigured`: its judge cannot be had."""
        if not rule.judge:
            return None
        trials = Trials(judge_named(rule.judge, rule.options), rule.deadline_s)
        return cls(rule=rule, chain=chain, directory=directory, pool=pool, trials=trials)

    async def round(self, me: Address, wall_ms: Callable[[], int]) -> "tuple[Round, list[Finding]]":
        """Judge what waits, some pieces of it; and what follows of all that was judged so far, as
        findings of the account `me`."""
        with JudgedWork.opened(self.directory, self.pool) as kept:
            done = await judge_round(self.chain, kept, self.trials, self.rule.pieces, wall_ms)
            return done, kept.findings(me)


async def judge_round(
    chain: WorkChain, kept: JudgedWork, trials: Trials, pieces: int, wall_ms: Callable[[], int]
) -> Round:
    """Read, and judge so many pieces at most."""
    unread = await _read(chain, kept)
    judged: list[Judged] = []
    postponed: list[WorkVerdict] = []
    for waited in list(kept.waiting[:pieces]):
        verdict = await trials.of(waited.work)
        done = await trio.to_thread.run_sync(kept.settle, waited, verdict, wall_ms())
        if done is None:
            postponed.append(verdict)
        else:
            judged.append(done)
            log.info(
                "judged work",
                key="0x" + done.work.key.hex(),
                node="0x" + done.work.node_id.hex(),
                conclusion=verdict.conclusion.value,
                because=verdict.evidence,
            )
    return Round(tuple(judged), tuple(postponed), len(kept.waiting), unread)


async def _read(chain: WorkChain, kept: JudgedWork) -> str:
    """Take in what was submitted; why not, if not."""
    if kept.room < limits.WORK_PART_EVENTS:
        return ""
    try:
        last = await final_number(chain.contracts, chain.final_depth)
        first = kept.next_block
        if first is None:
            first = max(0, last + 1 - limits.PAST_SPAN_MAX_BLOCKS)
        part = await work_since(chain.contracts, kept.pool.pool_id, first, last)
    except ChainUnavailable as error:
        return error.message
    await _keep(kept, part)
    return ""


async def _keep(kept: JudgedWork, part: WorkPart) -> None:
    if part.next_block != kept.next_block or part.pieces:
        await trio.to_thread.run_sync(kept.take_in, part)
