"""Chooses the log that a recovery goes on from, among those that agents say they hold.

Intuition: the longest log, by (last term, last index), of the newest epoch holds every entry that
was committed and survives anywhere (`core.log.epoch_recovery` says why). Everything else here is
about not doing it by mistake: a quorum that lives mends itself, a record written a moment ago needs
time, and a log that is not the longest loses what the longest has.

Pure: the words of agents and chain go in, a proposal or a refusal comes out.
"""

from collections.abc import Sequence

import attrs

from p2pool.codec.digests import log_id
from p2pool.codec.json.held_logs import HeldLog
from p2pool.codec.json.hex import address_text
from p2pool.codec.text.peer_id import peer_key_of
from p2pool.model.chain.root_record import PreviousLog, RootRecord
from p2pool.model.errors import Conflict, NotFound
from p2pool.model.ids import Digest, NodeId, PeerKey, PoolRef, StateDigest, StoreId
from p2pool.model.log.raft import is_quorum
from p2pool.model.log.state_digests import algorithm_of


@attrs.frozen
class Proposal:
    """The record to write, its founder, the reasons, and what it loses or leaves open."""

    root: RootRecord
    founder: HeldLog
    reasons: tuple[str, ...]
    losses: tuple[str, ...]


def propose(
    pool: PoolRef,
    root: RootRecord | None,
    holders: Sequence[HeldLog],
    *,
    founder: str | None = None,
    force: bool = False,
) -> Proposal:
    """The next epoch from the longest surviving log. Raises `Conflict` where that would do harm
    (`force` overrides what it can), `NotFound` for a founder that did not answer.

    `root`: the record on the chain now; `founder`: the node to found the epoch instead.
    """
    if root is None:
        raise _rootless(holders)
    holding = [h for h in holders if h.log_id is not None]
    if not holding:
        raise Conflict(
            "No agent that answers holds a log, so the next epoch has no base.",
            hint="Ask an agent that reaches others (--agent). If all logs are lost for good, found"
            " an empty one: --empty.",
        )
    newest = max(h.epoch for h in holding)
    current = log_id(pool, root).hex()
    same = [h for h in holding if h.epoch == newest]
    # Of two records of one epoch the later stands; its log counts where anybody holds it.
    same = [h for h in same if h.log_id == current] or same
    longest = max(same, key=lambda h: (*h.end, h.state_digest is not None, h.voter, h.node_id))
    same = [h for h in same if h.log_id == longest.log_id]
    if not force:
        _check_needed(root, longest, same, holders, current)
    chosen = longest if founder is None else _named(founder, same, holders)
    losses = _losses(chosen, longest, same)
    if chosen.end != longest.end and not force:
        raise Conflict(
            f"The log of {chosen.node_id} ends at {chosen.last_index} (term {chosen.last_term}),"
            f" that of {longest.node_id} at {longest.last_index} (term {longest.last_term}):"
            " the entries in between would be lost.",
            hint=f"Let {longest.node_id} found, or accept the loss: --force.",
        )
    _check_agree(chosen, same)
    return Proposal(_record(root, chosen), chosen, _reasons(chosen, longest, same), losses)


def propose_empty(root: RootRecord | None, holders: Sequence[HeldLog], founder: str) -> Proposal:
    """The next epoch from nothing; only if no agent that answers holds a log."""
    if root is None:
        raise _rootless(holders)
    for holder in holders:
        if holder.log_id is not None:
            raise Conflict(
                f"{holder.node_id} holds a log of epoch {holder.epoch}, so not all is lost.",
                hint="Go on from that log: leave out --empty.",
            )
    chosen = _named(founder, holders, holders)
    lost = "all tasks, settings and revocations of the pool; running containers are adopted"
    reason = "no agent that answers holds a log"
    return Proposal(_empty(root, chosen), chosen, (reason,), (lost,))


def _rootless(holders: Sequence[HeldLog]) -> Conflict:
    """The error for a pool without a root record: it was never founded, or lost it."""
    if any(holder.log_id is not None for holder in holders):
        return Conflict(
            "The chain lost the pool's root record, and its log lives.",
            hint="Write the record again: p2pool pool root --restore.",
        )
    return Conflict("The pool was never founded.", hint="Found it: p2pool pool start.")


def _check_needed(
    root: RootRecord,
    longest: HeldLog,
    same: Sequence[HeldLog],
    holders: Sequence[HeldLog],
    current: str,
) -> None:
    """`Conflict` where a recovery would undo what mends itself."""
    if longest.log_id == current:
        alive = [h.node_id for h in same if h.voter]
        if is_quorum(longest.halves, alive):
            raise Conflict(
                f"{len(alive)} of {len(_electors(longest))} voters answer, and they are a quorum:"
                " they elect a leader by themselves.",
                hint="Wait, and look at p2pool agent status. A recovery now would lose what they"
                " accept meanwhile; to do it anyway: --force.",
            )
        return
    by = address_text(root.founder)
    named = next((h for h in holders if h.node_id == by), None)
    if named is None or not named.refusal or named.followed_epoch != root.epoch:
        raise Conflict(
            f"Epoch {root.epoch} is already on the chain, and {by} has not founded it yet.",
            hint="Wait until its block is final and its founder has read it. If the founder is gone"
            " for good, name another: --force.",
        )


def _electors(held: HeldLog) -> tuple[str, ...]:
    """All that vote, each once."""
    return tuple(dict.fromkeys((*held.voters, *held.outgoing)))


def _named(founder: str, among: Sequence[HeldLog], holders: Sequence[HeldLog]) -> HeldLog:
    wanted = "0x" + founder.lower().removeprefix("0x")
    for holder in among:
        if holder.node_id == wanted:
            return holder
    if any(holder.node_id == wanted for holder in holders):
        raise Conflict(f"{wanted} holds no log of the newest epoch.", hint="Name another founder.")
    raise NotFound(
        f"{wanted} did not answer.", hint="See which nodes do: p2pool pool recover --dry-run."
    )


def _check_agree(chosen: HeldLog, same: Sequence[HeldLog]) -> None:
    """Equal ends mean equal states, or a disk or a program is wrong."""
    if chosen.state_digest is None:
        raise Conflict(
            f"{chosen.node_id} does not say which state its log ends in: its log grows, or its"
            " program is too old to read the end.",
            hint="Begin again in a minute. If it says so again, upgrade it.",
        )
    for holder in same:
        if holder.state_digest is None:
            continue  # Its program is too old to say, or its log grows.
        if holder.end == chosen.end and holder.state_digest != chosen.state_digest:
            raise Conflict(
                f"{holder.node_id} and {chosen.node_id} hold logs with the same end and different"
                " states: one of them is wrong.",
                hint="Stop the agent that you trust less, and begin again.",
            )


def _reasons(chosen: HeldLog, longest: HeldLog, same: Sequence[HeldLog]) -> tuple[str, ...]:
    committed = max(h.commit_index for h in same)
    said = [
        f"its log ends at {chosen.last_index} in term {chosen.last_term}, and no surviving log"
        " is longer"
        if chosen.end == longest.end
        else f"you named it; the longest log ends at {longest.last_index}",
    ]
    if chosen.last_index > committed:
        said.append(
            f"entries {committed + 1} to {chosen.last_index} are kept: they may have been"
            " acknowledged by lost voters"
        )
    return tuple(said)


def _losses(chosen: HeldLog, longest: HeldLog, same: Sequence[HeldLog]) -> tuple[str, ...]:
    out: list[str] = []
    if chosen.end != longest.end:
        out.append(f"what the log of {longest.node_id} holds beyond index {chosen.last_index}")
    here = [h.node_id for h in same if h.voter]
    lost = [voter for voter in _electors(longest) if voter not in here]
    if lost:
        out.append(f"entries that only lost voters hold, if any: {', '.join(lost)}")
    return tuple(out)


def _record(root: RootRecord, chosen: HeldLog) -> RootRecord:
    assert chosen.log_id is not None
    assert chosen.state_digest is not None
    made = StateDigest(bytes.fromhex(chosen.state_digest))
    algorithm_of(made)  # Written to the chain it would found nothing that this version can check.
    previous = PreviousLog(Digest(bytes.fromhex(chosen.log_id)), chosen.last_index, made)
    return attrs.evolve(_empty(root, chosen), previous=previous)


def _empty(root: RootRecord, chosen: HeldLog) -> RootRecord:
    peer_key: PeerKey = peer_key_of(chosen.peer_id)
    return RootRecord(
        root.epoch + 1,
        NodeId(bytes.fromhex(chosen.node_id[2:])),
        peer_key,
        StoreId(bytes.fromhex(chosen.store_id)),
    )
