"""Carries acts out: plans each from what the chain says now, sends it, and keeps what became of it.

Intuition: between the decision and the block lie a process that may die, an endpoint that may not
answer, and a chain that somebody else changes. So an act is planned anew from the chain each time
that it is tried: what is so already needs nothing, and what is not needs the same bytes as before,
which the account's writer knows from the ones it has on their way.

Invariants: an act is in the journal as planned before its first transaction, and leaves that state
only for a block, a refusal of the contract, or the chain being so already; it costs no more than
its reserve; an endpoint that does not answer ends nothing. `NotAllowed` passes to the caller: an
account that has lost its role has nothing to try.
"""

from collections.abc import Callable, Sequence

import attrs
import trio

from p2pool.drivers.chain import answers
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.provider.conduct import Done, send_ready
from p2pool.drivers.chain.provider.costs import TYPICAL_GAS, Costs, Payer, costs_of
from p2pool.drivers.chain.provider.plan import Plan
from p2pool.drivers.chain.provider.reads import Reader, reading
from p2pool.drivers.chain.rpc import Reverted
from p2pool.drivers.chain.transactions.journal import Journal
from p2pool.drivers.chain.transactions.refusals import cause_of
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.drivers.chain.validator.act_plans import (
    Penalty,
    invalidate_plan,
    slash_plan,
    validate_plan,
)
from p2pool.drivers.chain.validator.roles import Roles
from p2pool.drivers.chain.validator.slashes import slashes_of
from p2pool.drivers.chain.validator.work import Invalidation, invalidate_work_plan, work_of
from p2pool.model import limits
from p2pool.model.errors import (
    ChainUnavailable,
    Conflict,
    NotFound,
    Overtaken,
    TransactionFailed,
    TransactionStuck,
)
from p2pool.model.ids import Address
from p2pool.validator.journal.act_journal import ActJournal
from p2pool.validator.policy.acts import Act, ActKind, ActState, TakenAct
from p2pool.validator.policy.history import Budget
from p2pool.validator.policy.rules import Policy

WriterFor = Callable[[int], KeyWriter]
"""A writer of the validator's account that pays so many wei for a unit of gas at most."""

HEADROOM = 2
"""A reserve is for so many times the gas that an act takes as a rule, and so many times its
price."""
_FUNCTIONS = {
    ActKind.VALIDATE: ("validateNode",),
    ActKind.INVALIDATE: ("invalidateNode",),
    ActKind.REMOVE: ("invalidateNode", "removeComputeNode"),
    ActKind.SLASH: ("slash",),
    ActKind.TAKE_BACK: ("softInvalidateWork",),
}
GAS = {
    kind: HEADROOM * sum(TYPICAL_GAS[name] for name in names) for kind, names in _FUNCTIONS.items()
}


async def budget_of(policy: Policy, chain: PoolContracts) -> Budget:
    """The policy's budget at the price of now; a price that nobody says is unknown."""
    price = await reading(lambda: chain.rpc.request("eth_gasPrice", read=answers.price))
    price_wei = None if price.value is None else HEADROOM * price.value
    return Budget(per_day_wei=policy.budget.per_day_wei, gas_price_wei=price_wei, gas=GAS)


@attrs.frozen
class Tried:
    """What came of trying an act. `postponed`: why it is still open; empty: it is over."""

    taken: TakenAct
    postponed: str = ""


@attrs.frozen
class Executor:
    """Carries the acts of one validator out, one after the other. `pending`: where its account
    keeps a transaction that is on its way, the same one that the writers have."""

    chain: PoolContracts
    account: Address
    writer_for: WriterFor
    pending: Journal
    journal: ActJournal

    async def resume(self) -> list[Tried]:
        """Go on with what an earlier process left: first its transaction, then its acts."""
        if not self.journal.open_acts:
            return []
        # The writer that brings a transaction home knows it again; so all go through it, and none
        # of them may cost more than its own reserve.
        most_wei = min(_price_wei(one) for one in self.journal.open_acts)
        writer = self.writer_for(max(1, most_wei))
        await writer.settle()
        return [await self._try(one, writer) for one in self.journal.open_acts]

    async def carry_out(self, acts: Sequence[Act], *, dry_run: bool) -> list[Tried]:
        """Keep what was decided, and do it unless it is a dry run."""
        await trio.to_thread.run_sync(lambda: self.journal.plan(acts, dry_run=dry_run))
        if dry_run:
            return [Tried(self.journal.acts[one.act_id]) for one in acts]
        return [await self._try(one, None) for one in acts]

    async def _try(self, act: Act, settled: KeyWriter | None) -> Tried:
        """`settled`: the writer that brought an earlier process's transaction home."""
        try:
            # Before the plan is read: whatever the account sends from then on makes it void.
            counted = await (settled or self.writer_for(limits.CHAIN_WORD_MAX)).count()
            plan = await plan_of(act, self.chain, self.account)
            if not plan.ready:
                return await self._needless(act, plan, resumed=settled is not None)
            payer = Payer(limits.CHAIN_WORD_MAX, self.pending)
            costs = await costs_of(self.chain, plan, payer)
            if costs.missing_coin_wei:
                return self._postponed(act, "the account lacks coin for gas")
            if costs.refusal is not None:
                if _will_end(costs.refusal):
                    return self._postponed(act, costs.refusal.message)
                raise costs.refusal
            if (price_wei := _cap_wei(act, costs)) is None:
                return self._postponed(act, "gas costs more than was set aside for it")
            writer = self.writer_for(price_wei) if settled is None else settled
            return await self._ended(act, await send_ready(plan, writer, counted), plan)
        except (ChainUnavailable, Overtaken, TransactionStuck) as error:
            return self._postponed(act, error.message)
        except (TransactionFailed, NotFound, Conflict) as error:
            # Whether it took gas is not told in all cases: the reserve counts as spent.
            return await self._over(act, ActState.REFUSED, act.reserve_wei, why=error.message)

    async def _needless(self, act: Act, plan: Plan, *, resumed: bool) -> Tried:
        """Nothing to send: it is so, or somebody else has to do something first."""
        if (wait := plan.waits) is not None:
            return await self._over(act, ActState.REFUSED, 0, why=wait.finding)
        spent_wei = act.reserve_wei if resumed else 0
        return await self._over(act, ActState.DONE, spent_wei, why="it was so already")

    async def _ended(self, act: Act, done: Sequence[Done], plan: Plan) -> Tried:
        prices = [one.sent.price_wei for one in done]
        spent_wei = sum(one.sent.gas_used * one.sent.price_wei for one in done)
        if not all(prices):
            spent_wei = act.reserve_wei
        wait = plan.waits
        return await self._over(
            act,
            ActState.DONE,
            spent_wei,
            transaction=done[-1].sent.transaction_hash,
            why="" if wait is None else f"not whole: {wait.finding}; {wait.command}",
        )

    async def _over(
        self, act: Act, state: ActState, spent_wei: int, *, transaction: str = "", why: str = ""
    ) -> Tried:
        taken = TakenAct(
            act=act, state=state, spent_wei=spent_wei, transaction=transaction, why=why
        )
        await trio.to_thread.run_sync(self.journal.settle, taken)
        return Tried(taken)

    def _postponed(self, act: Act, why: str) -> Tried:
        return Tried(self.journal.acts[act.act_id], postponed=why)


async def plan_of(act: Act, chain: PoolContracts, account: Address) -> Plan:
    """The plan of an act from what the chain says now."""
    reader = await Reader.at_head(chain)
    roles = await Roles.of(chain, account, reader.block)
    if act.kind is ActKind.SLASH:
        facts, earlier = await reader.provider(act.provider), await slashes_of(reader, act.provider)
        penalty = Penalty(act.provider, act.amount_wei, act.act_id)
        return slash_plan(chain.at, roles, facts, penalty, earlier)
    if act.piece is not None:
        pool = (await reader.pool(act.piece.pool_id)).need()
        work = await work_of(reader, act.piece.pool_id, pool.domain_id)
        how = Invalidation(units=act.piece.units)
        return invalidate_work_plan(chain.at, roles, work, [act.piece.key], how)
    nodes = await reader.registry_nodes([act.node_id])
    owner = nodes[0].registry.value
    if owner is not None and owner.provider != act.provider:
        raise Conflict("The node is another provider's by now.")
    if act.kind is ActKind.VALIDATE:
        return validate_plan(
            chain.at, roles, nodes, {act.provider: await reader.provider(act.provider)}
        )
    return invalidate_plan(chain.at, roles, nodes, hard=act.kind is ActKind.REMOVE)


def _will_end(refused: TransactionFailed) -> bool:
    """Whether it is refused for a while only: what a pause holds up is not over."""
    cause = refused.__cause__
    return isinstance(cause, Reverted) and cause_of(cause) == "EnforcedPause"


def _price_wei(act: Act) -> int:
    """What a unit of gas costs at most, if an act takes all the gas that it may."""
    return act.reserve_wei // GAS[act.kind]


def _cap_wei(act: Act, costs: Costs) -> int | None:
    """The most to pay for a unit of gas, so that all comes to no more than the reserve; None: a
    block costs more than that now."""
    ready = [one.limit for one in costs.gas[: len(costs.plan.ready)] if one is not None]
    market = costs.market.value
    if market is None or None in ready:
        raise ChainUnavailable("No endpoint says what gas costs.")
    cap_wei = act.reserve_wei // max(1, sum(one or 0 for one in ready))
    return cap_wei if cap_wei >= market.least_wei else None
