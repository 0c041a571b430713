"""Decides what follows from the findings, and has it done: one turn of the policy.

Invariants: what is decided is in the journal before it is sent; a dry run sends nothing; a chain
that cannot be read, or a disk that cannot be written, costs a turn and nothing else: what was left
is looked at again in the next. `NotAllowed` passes: an account without the role has nothing to do.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

import attrs
import trio

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.amounts import GWEI
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.transactions.journal import FileJournal
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.errors import ChainUnavailable, StoreFailed, TooMany, Unavailable
from p2pool.model.ids import NodeId
from p2pool.validator.chain_history import history_of
from p2pool.validator.execution import Executor, Tried, budget_of
from p2pool.validator.journal.act_journal import ActJournal
from p2pool.validator.policy.decision import Held, decide
from p2pool.validator.policy.findings import Finding
from p2pool.validator.policy.rules import Policy
from p2pool.validator.process.metrics import Metrics
from p2pool.validator.process.options import ValidatorOptions

log = get_logger(__name__)

Findings = Callable[[Iterable[NodeId]], Sequence[Finding]]
"""All findings on these nodes that are known, by whomever."""


def executor_of(options: ValidatorOptions, chain: PoolContracts, journal: ActJournal) -> Executor:
    """Who carries acts out for the account."""
    config = options.chain
    pending = FileJournal.of(options.transactions, config.id, options.address)
    most_wei = config.fee_max_gwei * GWEI

    def writer_for(price_wei: int) -> KeyWriter:
        return KeyWriter(
            chain.rpc, options.account, journal=pending, fee_max_wei=min(price_wei, most_wei)
        )

    return Executor(
        chain=chain,
        account=options.address,
        writer_for=writer_for,
        pending=pending,
        journal=journal,
    )


@attrs.define
class Turns:
    """Of one run. `left`: nodes of which something is new, or was held back."""

    policy: Policy
    executor: Executor
    findings: Findings
    metrics: Metrics
    now_ms: Callable[[], int]
    left: set[NodeId] = attrs.field(factory=set)
    unheard: Callable[[Iterable[NodeId]], Collection[NodeId]] = lambda nodes: ()
    """Of these nodes those of which it is unknown now what other validators found."""
    _held: dict[tuple[str, NodeId], str] = attrs.field(factory=dict)

    async def turn(self) -> list[Tried]:
        """What was done, or shown, in this turn."""
        try:
            done = await self.executor.resume()
            done += await self._decide()
            await trio.to_thread.run_sync(self.executor.journal.compact, self.now_ms())
        except (ChainUnavailable, StoreFailed, TooMany, Unavailable) as error:
            self.metrics.failed("act")
            log.warning("nothing was done in this turn", why=error.message, hint=error.hint)
            return []
        for one in done:
            self._tell(one)
        return done

    async def _decide(self) -> list[Tried]:
        nodes = sorted(self.left)
        if not nodes:
            return []
        executor, policy = self.executor, self.policy
        findings = self.findings(nodes)
        taken = executor.journal.taken
        history = await history_of(executor.chain, executor.account, findings, taken)
        history = attrs.evolve(history, unheard=self.unheard(nodes))
        budget = await budget_of(policy, executor.chain)
        decision = decide(policy, findings, history, budget, self.now_ms())
        self._tell_held(decision.held)
        done = await executor.carry_out(decision.acts, dry_run=policy.dry_run)
        self.left = {one.node_id for one in decision.held}
        return done

    def _tell_held(self, held: Sequence[Held]) -> None:
        """Why something does not follow now: once for each reason."""
        now = {(one.kind.value, one.node_id): one.why for one in held}
        for (kind, node_id), why in now.items():
            if self._held.get((kind, node_id)) != why:
                log.info("held back", act=kind, node=address_text(node_id), why=why)
        self._held = now

    def _tell(self, tried: Tried) -> None:
        taken, act = tried.taken, tried.taken.act
        self.metrics.acted(taken, postponed=bool(tried.postponed))
        told = {
            "act": act.kind.value,
            "node": address_text(act.node_id),
            "provider": address_text(act.provider),
            "state": taken.state.value,
            "because_of": [one.hex() for one in act.findings[:4]],
        }
        if act.amount_wei:
            told["amount_wei"] = str(act.amount_wei)
        if taken.transaction:
            told["transaction"] = taken.transaction
        if tried.postponed or taken.why:
            told["why"] = tried.postponed or taken.why
        if taken.state.value == "shown":
            log.warning("DRY RUN: this would be done, and was not", **told)
        elif tried.postponed:
            log.warning("not done yet", **told)
        else:
            log.info("done" if taken.state.value == "done" else "refused by the chain", **told)
