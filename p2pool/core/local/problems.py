"""What keeps this node from taking part, and what else people have to see to, in sentences.

Invariants: what another node did is no problem of this one. It is a warning: this node takes part
all the same, or one liar would have every agent of the pool report that it is not ready.
"""

from collections.abc import Iterable

from p2pool.codec.json.hex import address_text
from p2pool.core.context import Context
from p2pool.core.local.machine import Machine
from p2pool.core.log.pool_log import PoolLog
from p2pool.core.voter.chain_agreement import ChainAgreement
from p2pool.core.voter.eligibility import LeaderEligibility
from p2pool.model.log.certificates import LieProof
from p2pool.model.log.raft import majority
from p2pool.model.timing import Now
from p2pool.proofs.evidence_text import told

_LOOKING = "Its agent looks for the way in; what it waits for is said here in a moment."


def problems(
    context: Context,
    machine: Machine,
    eligibility: LeaderEligibility,
    chain_agreement: ChainAgreement,
    now: Now,
) -> tuple[str, ...]:
    """What keeps this node from taking part, and who has to do what."""
    trouble = machine.trouble
    out = [trouble] if trouble is not None else []
    pool_log = context.pool_log
    if pool_log.newer_snapshot is not None:
        out.append(f"A peer's snapshot cannot be read. {pool_log.newer_snapshot}")
    roster = context.roster
    if context.leader_certificates.diverged is not None:
        out.append(context.leader_certificates.diverged)
    if context.leader_certificates.misled is not None:
        out.append(context.leader_certificates.misled)
    if pool_log.unkept is not None:
        out.append(
            f"No snapshot of the log can be made: {pool_log.unkept} The log grows, and nodes that "
            "lack its older part cannot catch up: stop tasks until it fits."
        )
    unproven = context.leader_certificates.unproven
    if unproven is not None and pool_log.fetches and context.leader(now) is None:
        out.append(unproven)
    if pool_log.leads:
        told = (context.leader_certificates.problem, context.leader_certificates.disagreement)
        out += [problem for problem in told if problem is not None]
    if roster.problem is not None:
        out.append(f"The chain cannot be read: {roster.problem}")
    out += chain_agreement.problems(now)
    if not roster.known:
        return (*out, "This agent has not read the pool's roster yet.")
    inside = roster.belongs(context.me)
    if not inside:
        out.append(f"This node is not in the pool. {context.joining or _LOOKING}")
        out += [context.stuck] if context.stuck is not None else []
    if roster.root is None:
        out.append(_no_root(pool_log))
    elif inside and context.leader(now) is None:
        # Whoever is outside hears of no leader, and that is no reason to found another epoch.
        out.append(_why_no_leader(context))
    state = context.pool_log.state
    if state is not None and state.held_until_ms:
        minutes = max(1, (state.held_until_ms - now.wall_ms) // 60_000)
        out.append(
            f"Replacement of copies on vanished nodes is on hold: {state.held_because}. "
            f"Check the network; it goes on in {minutes} min, or when they are back."
        )
    seen = (context.clocks.differing, eligibility.disputed, eligibility.unseated)
    out += [said for said in seen if said is not None]
    return tuple(out)


def accusations(context: Context, proofs: Iterable[LieProof]) -> tuple[str, ...]:
    """Who was proven to lie as a voter, and is still in the pool: the latest lie of each."""
    roster, group = context.roster, context.pool_log.configuration.everybody
    last = {
        one.voter.node_id: one
        for one in sorted(proofs, key=lambda one: one.term)
        if one.voter in group or roster.belongs(one.voter.node_id)
    }
    return tuple(
        f"Voter {told(one)} Ban the node, or eject it: `p2pool node ban {address_text(node_id)}`; "
        "`p2pool pool evidence` has the proof."
        for node_id, one in last.items()
    )


def provider_warnings(context: Context) -> tuple[str, ...]:
    """What the provider has to see to, while this node takes part all the same: a transaction on
    its way, unless it is what keeps the node out. Of its coin and stake the agent's API warns."""
    stuck = context.stuck if context.roster.belongs(context.me) else None
    return () if stuck is None else (stuck,)


def _no_root(pool_log: PoolLog) -> str:
    """Who has to write a root record, by which command: no log that lives is begun anew."""
    if pool_log.root is None:
        return (
            "The pool has no root record in a final block: its creator or manager runs "
            "`p2pool pool start`."
        )
    return (
        "The chain lost the pool's root record, so who comes new finds no log; this one lives. "
        "Its creator or manager writes the record again: `p2pool pool root --restore`."
    )


def _why_no_leader(context: Context) -> str:
    """Who has to do what before somebody can lead."""
    pool_log = context.pool_log
    root = pool_log.root
    if pool_log.refusal:
        return pool_log.refusal
    unbegun = pool_log.raft is not None and pool_log.raft.state.log.last_index == 0
    if root is None or not unbegun:
        return _no_quorum(context) or "The pool has no leader now."
    return (
        f"Epoch {root.epoch} of the log has not begun here: node"
        f" {address_text(root.founder)} founds "
        "it, and must be up and reachable. If it is gone for good, the manager names another: "
        "`p2pool pool recover`."
    )


def _no_quorum(context: Context) -> str | None:
    """Which voters are missing, if too few are connected; else None."""
    configuration, peers = context.pool_log.configuration, context.bindings
    voters = configuration.electors
    away = [v for v in voters if v.node_id != context.me and not peers.is_connected(v.node_id)]
    here = [v.store_id for v in voters if v not in away]
    if not voters or configuration.has_quorum(here):
        return None
    named = ", ".join(address_text(v.node_id) for v in away)
    needed = " and ".join(str(majority(len(half))) for half in configuration.halves)
    of_each = " of the old and the new ones" if configuration.is_joint else ""
    return (
        f"The pool has no quorum here: {len(here)} of {len(voters)} voters are "
        f"connected, and a quorum needs {needed}{of_each}. What runs goes on, and so do reads; "
        f"nothing is written until enough of these are back: {named}."
    )
