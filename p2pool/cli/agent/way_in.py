"""`p2pool agent run --dry-run`: the whole rest of this node's way into the pool; nothing is sent.

It is the plan that the agent would take the first step of, with the units of this machine and the
invite that lies in the data directory: the same calls, to the last byte, for what the agent would
offer for gas. Where its owner allows it to make a slash good, that comes first, as it does for the
agent.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from p2pool.cli.agent.waiting_work import waiting_work
from p2pool.cli.shared.output import write_json

if TYPE_CHECKING:
    from p2pool.drivers.chain.join_steps import Joining, JoinStep
    from p2pool.drivers.chain.provider.costs import Costs
    from p2pool.drivers.chain.provider.plan import Plan
    from p2pool.drivers.chain.stakes import StakePolicy
    from p2pool.drivers.config.schema import AgentConfig
    from p2pool.model.ports.signer import Signer


def write_way_in(
    settings: "AgentConfig",
    directory: Path,
    node: "Signer",
    provider: "Signer | None",
    policy: "StakePolicy",
    as_json: bool,
) -> None:
    """Write the next step, and with the provider's key the whole way with its costs; where the
    stake is more than `policy` allows, the next step is the wait for that."""
    import trio

    from p2pool.cli.plan_documents import plan_document, would_send
    from p2pool.cli.shared.plans import pages

    step, costs = trio.run(_look, settings, directory, node, provider, policy)
    work = trio.run(waiting_work, settings, directory, node, provider)
    said = [] if costs is None else would_send(costs.plan)
    if as_json:
        told: dict[str, Any] = {**attrs.asdict(step), "would_send": said, "plan": None}
        told["work"] = attrs.asdict(work)
        if costs is not None:
            told["plan"] = plan_document(costs, (), costs.plan, True, {})
        write_json("join-step", told)
        return
    print(f"next step: {step.name} ({step.progress}) {step.detail}".rstrip())
    if step.waiting_on:
        print(f"waits for: {step.waiting_on}")
    if step.command:
        print(f"they run: {step.command}")
    if costs is not None:
        pages.write_plan(costs)
    elif not said:
        print("nothing would be sent")
    for text in (*work.would_send, *work.notes):
        print(f"work: {text}")


async def _look(
    settings: "AgentConfig",
    directory: Path,
    node: "Signer",
    provider: "Signer | None",
    policy: "StakePolicy",
) -> "tuple[JoinStep, Costs | None]":
    from p2pool.codec.text.amounts import GWEI
    from p2pool.drivers.chain.join_steps import STAKE, JoinStep, Progress, waiting_step
    from p2pool.drivers.chain.provider.costs import Payer, costs_of
    from p2pool.drivers.chain.provider.plan import Wait
    from p2pool.drivers.chain.provider.reads import read_stake
    from p2pool.drivers.chain.stakes import StakePolicy
    from p2pool.drivers.chain.transactions.journal import FileJournal
    from p2pool.model.ids import Address

    joining = attrs.evolve(await _joining(settings, directory, node), stake=policy)
    if provider is None:
        return await joining.next_step(), None
    account = Address(bytes.fromhex(provider.address[2:]))
    # The whole way is shown beyond what is allowed, too: its owner learns what to allow.
    unbound = attrs.evolve(joining, stake=StakePolicy())
    plan = await _with_top_up(joining, await unbound.plan(account))
    payer = Payer(
        settings.chain.fee_max_gwei * GWEI,
        FileJournal.of(directory, settings.chain.id, account),
    )
    costs = await costs_of(joining.chain, plan, payer)
    if not plan.steps:
        return JoinStep("joined", Progress.DONE, f"{node.address.lower()} is in the pool"), costs
    first = plan.steps[0]
    most_wei = policy.most_wei
    if most_wei is not None and any(call.stake_wei > most_wei for call in plan.calls):
        stake = await read_stake(joining.chain, plan.account, joining.units)
        waits = JoinStep(
            name=STAKE,
            progress=Progress.WAITING,
            detail=stake.over(policy) or "",
            waiting_on=stake.whom(),
            command=stake.allowing(),
        )
        return waits, costs
    if isinstance(first, Wait):
        return waiting_step(first), costs
    return JoinStep(first.name, Progress.DOING, first.purpose), costs


async def _with_top_up(joining: "Joining", plan: "Plan") -> "Plan":
    """The plan with what the agent adds to the stake at its start, after a slash."""
    from p2pool.drivers.chain.join_steps import STAKE
    from p2pool.drivers.chain.provider.plan import Wait
    from p2pool.drivers.chain.provider.provider_plans import stake_plan
    from p2pool.drivers.chain.provider.reads import Reader, read_stake

    first = plan.steps[0] if plan.steps else None
    waits = isinstance(first, Wait) and first.name == STAKE
    if not joining.stake.top_up or not (waits or first is None):
        return plan
    if (await read_stake(joining.chain, plan.account)).over(joining.stake) is not None:
        return plan
    facts = await (await Reader.at_head(joining.chain)).provider(plan.account)
    if not facts.is_registered:
        return plan
    added = stake_plan(joining.chain.at, facts).steps
    return attrs.evolve(plan, steps=(*added, *plan.steps[1:])) if added else plan


async def _joining(settings: "AgentConfig", directory: Path, node: "Signer") -> "Joining":
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.join_driver import INVITE_FILE_NAME, find_in_file
    from p2pool.drivers.chain.join_steps import Joining
    from p2pool.drivers.chain.provider.ways import compute_units
    from p2pool.drivers.hardware.probe import probe_hardware

    # A directory that is not there yet lies where its nearest parent does.
    place = next(one for one in (directory, *directory.parents) if one.is_dir())
    hardware, _, _ = await probe_hardware(settings.resources, place, settings.runtime.kind)

    async def find_invite() -> Any:
        return await find_in_file(directory / INVITE_FILE_NAME)

    return Joining(
        chain=PoolContracts.of(settings.chain),
        pool_id=settings.pool.id,
        node=node,
        units=compute_units(len(hardware.gpus)),
        find_invite=find_invite,
    )
