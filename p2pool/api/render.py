"""From a view to the answers of the API: pure, and the only place that writes names as text."""

import math
from collections import Counter
from enum import IntEnum

from p2pool.api import answers, proofanswers
from p2pool.codec.json.hex import address_text
from p2pool.codec.json.proofs import evidence_json, proof_json, voter_json
from p2pool.codec.spec.spec import spec_dict
from p2pool.codec.text.peer_id import peer_id
from p2pool.model import limits
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.log.certificates import LeaderCertificate
from p2pool.model.log.raft import Voter
from p2pool.model.messages.task_streams import MetricsAnswered
from p2pool.model.ports.agent import Accepted, LogEnds, LogHolder
from p2pool.model.ports.view import AllocationView, NodeView, TaskView, View
from p2pool.model.states import Membership, Reachability

OUTSIDE = (Membership.APPLICANT, Membership.INVITED, Membership.LEFT)


def word(state: IntEnum) -> str:
    """A state as people read it."""
    return state.name.lower().replace("_", "-")


def _node_text(node_id: NodeId | None) -> str | None:
    return None if node_id is None else address_text(node_id)


def _peer_text(key: PeerKey | None) -> str:
    return "" if key is None else peer_id(key)


def meta(view: View) -> answers.Meta:
    """What the view had seen."""
    return answers.Meta(
        as_of_ms=view.as_of_ms,
        revision=view.revision,
        node_id=address_text(view.node_id),
        epoch=view.epoch,
        term=view.term,
        leader=_node_text(view.leader),
        commit_index=view.commit_index,
        applied_index=view.applied_index,
        roster_block=None if view.roster is None else view.roster.block_number,
        roster_age_ms=view.roster_age_ms,
    )


def node(view: View, seen: NodeView) -> answers.Node:
    """One node."""
    return answers.Node(
        node_id=address_text(seen.node_id),
        provider=address_text(seen.provider),
        membership=word(seen.membership),
        reachability=word(seen.reachability),
        intent=word(seen.intent),
        eligible=seen.eligible,
        reason=seen.reason,
        role=word(seen.role),
        leader=seen.node_id == view.leader,
        peer_id=_peer_text(seen.peer_key),
        agent_version=seen.agent_version,
        addresses=seen.addresses,
        incarnation=seen.incarnation,
        last_heard_ms=seen.last_heard_ms,
        hardware=seen.hardware,
        free=seen.free,
        load=seen.load,
        allocations=seen.allocations,
    )


def allocation(of: TaskView, seen: AllocationView) -> answers.Allocation:
    """One copy of a task."""
    return answers.Allocation(
        id=str(seen.allocation),
        task_id=of.task_id.hex(),
        task_name=of.spec.name,
        replica=seen.allocation.replica,
        attempt=seen.attempt,
        state=word(seen.state),
        node_id=_node_text(seen.node_id),
        gpus=seen.gpus,
        reason=seen.reason,
        exit_code=seen.exit_code,
        oom_killed=seen.oom_killed,
        image_digest=seen.image_digest,
        changed_at_ms=seen.changed_at_ms,
        health=word(seen.health),
        pulled_bytes=seen.pulled_bytes,
        pull_total_bytes=seen.pull_total_bytes,
    )


def metrics(
    copy: AllocationView, told: MetricsAnswered | None, problem: str = ""
) -> answers.CopyMetrics:
    """What a copy said, or why its node was not heard."""
    values = told.metrics if told is not None else ()
    return answers.CopyMetrics(
        allocation=str(copy.allocation),
        node_id=_node_text(copy.node_id),
        metrics=tuple(answers.Metric(m.name, _number(m.value), m.at_ms) for m in values),
        refused_lines=told.refused_lines if told is not None else 0,
        problem=problem,
    )


def _number(text: str) -> float:
    """A number that another node wrote: 0 where it is none."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


def task(seen: TaskView) -> answers.Task:
    """A task with its copies."""
    return answers.Task(
        task_id=seen.task_id.hex(),
        name=seen.spec.name,
        image=seen.spec.image,
        signer=address_text(seen.signer),
        state=seen.state,
        stop_requested=seen.stop_requested,
        submitted_at_ms=seen.submitted_at_ms,
        spec=spec_dict(seen.spec),
        allocations=tuple(allocation(seen, one) for one in seen.allocations),
    )


def allocations(view: View, on: NodeId | None = None) -> tuple[answers.Allocation, ...]:
    """All copies of all tasks, or those on a node."""
    return tuple(
        allocation(of, one)
        for of in view.tasks
        for one in of.allocations
        if on is None or one.node_id == on
    )


def leader(view: View) -> answers.Leader:
    """Who leads."""
    seen = None if view.leader is None else view.node(view.leader)
    return answers.Leader(
        node_id=_node_text(view.leader),
        peer_id=_peer_text(seen.peer_key) if seen else "",
        epoch=view.epoch,
        term=view.term,
        since_ms=view.leader_since_ms,
        log_id=None if view.log_id is None else view.log_id.hex(),
        certificate=None if view.certificate is None else certificate(view.certificate),
        proof=None if view.proof is None else proof_json(view.proof),
    )


def certificate(known: LeaderCertificate) -> proofanswers.Certificate:
    """What a certificate says."""
    return proofanswers.Certificate(
        node_id=address_text(known.leader.node_id),
        term=known.term,
        committee_hash=known.committee_hash.hex(),
        commit_index=known.commit_index,
        state_digest=known.state_digest.hex(),
        time_ms=known.time_ms,
        valid_until_ms=known.time_ms + limits.CERTIFICATE_LIFETIME_MS,
        signatures=len(known.signatures),
    )


def evidence(view: View) -> tuple[proofanswers.Evidence, ...]:
    """Who signed for two in one term."""
    return tuple(
        proofanswers.Evidence(
            voter=_voter(one.voter),
            log_id=one.log_id.hex(),
            term=one.term,
            kind=one.kind,
            first_for=_voter(one.first_for),
            second_for=_voter(one.second_for),
            proof=evidence_json(view.pool, one.first, one.second),
        )
        for one in view.evidence
    )


def _voter(voter: Voter) -> proofanswers.VoterName:
    return proofanswers.VoterName(**voter_json(voter))


def committee(view: View) -> answers.Committee:
    """Voters, then learners."""
    voters, learners = view.configuration.voters, view.configuration.learners
    return answers.Committee(
        quorum=len(voters) // 2 + 1 if voters else 0,
        members=tuple(_committee_member(view, one, True) for one in voters)
        + tuple(_committee_member(view, one, False) for one in learners),
    )


def _committee_member(view: View, one: Voter, voter: bool) -> answers.CommitteeMember:
    seen = view.node(one.node_id)
    return answers.CommitteeMember(
        node_id=address_text(one.node_id),
        peer_id=_peer_text(one.peer_key),
        store_id=one.store_id.hex(),
        voter=voter,
        leader=one.node_id == view.leader,
        reachability="unknown" if seen is None else word(seen.reachability),
    )


def roster(view: View) -> answers.Roster | None:
    """The roster, or None while the chain has not been read."""
    known = view.roster
    if known is None:
        return None
    return answers.Roster(
        block_number=known.block_number,
        block_hash=known.block_hash.hex(),
        block_time_ms=known.block_time_ms,
        final_block=None if view.roster_final is None else view.roster_final.block_number,
        age_ms=view.roster_age_ms,
        members=tuple(
            answers.Member(
                node_id=address_text(one.node_id),
                provider=address_text(one.provider),
                eligible=one.eligible,
                reason=one.reason,
            )
            for one in known.members
        ),
    )


def pool(view: View) -> answers.Pool:
    """The pool as a whole."""
    known = view.roster
    healthy = [
        one for one in view.nodes
        if one.reachability is Reachability.HEALTHY and one.membership not in OUTSIDE
    ]  # fmt: skip
    return answers.Pool(
        chain_id=view.pool.chain_id,
        contract=address_text(view.pool.contract),
        pool_id=view.pool.pool_id,
        name=known.pool_name if known else "",
        status=word(known.status) if known else "unknown",
        domain_id=known.domain_id if known else 0,
        creator=address_text(known.creator) if known else None,
        manager=address_text(known.manager) if known else None,
        requirements=known.requirements if known else "",
        members=len(known.members) if known else 0,
        nodes_healthy=len(healthy),
        nodes_eligible=sum(one.eligible for one in healthy),
        gpus=sum(len(one.hardware.gpus) for one in healthy if one.hardware),
        gpus_free=sum(one.free.gpus for one in healthy if one.free),
        tasks=dict(Counter(one.state for one in view.tasks)),
        settings=dict(view.settings),
        leader=_node_text(view.leader),
    )


def agent(view: View) -> answers.Agent:
    """This agent itself."""
    return answers.Agent(
        node_id=address_text(view.node_id),
        peer_id=_peer_text(view.peer_key),
        store_id=view.store_id.hex(),
        role=word(view.role),
        ready=view.ready,
        problems=problems(view),
        peers_connected=view.peers_connected,
    )


def logs_held(ends: LogEnds) -> tuple[answers.HeldLog, ...]:
    """Who holds which log."""
    return tuple(_held_log(one) for one in ends.found)


def _held_log(one: LogHolder) -> answers.HeldLog:
    end = one.end
    return answers.HeldLog(
        node_id=address_text(one.node_id),
        peer_id=peer_id(one.peer_key),
        store_id=end.store_id.hex(),
        log_id=None if end.log_id is None else end.log_id.hex(),
        epoch=end.epoch,
        followed_epoch=end.followed_epoch,
        refusal=end.refusal,
        base_index=end.base_index,
        commit_index=end.commit_index,
        last_index=end.last_index,
        last_term=end.last_term,
        state_digest=None if end.state_digest is None else end.state_digest.hex(),
        voters=tuple(address_text(voter.node_id) for voter in end.voters),
        voter=Voter(one.node_id, one.peer_key, end.store_id) in end.voters,
    )


def problems(view: View) -> tuple[str, ...]:
    """What keeps this agent from taking part, in sentences."""
    if view.problems:
        return view.problems
    if view.roster is None:
        return ("The chain has not been read yet, so nobody is known to belong.",)
    return () if view.leader is not None else ("No leader is known.",)


def accepted(answer: Accepted) -> answers.Accepted:
    """A committed request."""
    return answers.Accepted(
        task_id=answer.task_id.hex(),
        index=answer.index,
        leader=_node_text(answer.leader),
        replicated=answer.replicated,
        duplicate=answer.duplicate,
    )
