"""What a node checks itself before it obeys an order or starts a copy, whoever ordered it.

Only a quorum of the committee makes a leader, by signatures that come with the order: a seat in the
committee is not enough, and neither is having led once. And a bad leader can place work badly but
never invent it: an account with the right to do so must have signed the submission in the order,
and the task's id must be its digest. Whether a contract account signed it only the chain can say,
and this node asks its own endpoints, about the block that its own copy of the committed log names:
the voters have seen to it that no other block than one of that time stands there.
Source: docs/design/certificates.md, "Leader certificates"; docs/design/tasks.md, "Rights".
"""

import attrs

from p2pool.core.context import Context
from p2pool.core.follower.certificate_exchange import CertificateExchange
from p2pool.core.fsm.access.revocations import revoked
from p2pool.core.fsm.permissions import REVOKED, may_set_secrets, may_start
from p2pool.core.knowledge.leadership.leader_certificate import UnknownCommittee
from p2pool.model.access.requests import Signers
from p2pool.model.access.verdicts import Validity, Verdict
from p2pool.model.errors import Refusal
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.messages.work import Desired, Order
from p2pool.model.timing import Now
from p2pool.proofs.certificates import Opened, check_fresh


@attrs.define
class OrderCheck:
    """One node's check of what it is ordered to run."""

    context: Context
    certificate_exchange: CertificateExchange

    def refusal(
        self, order: Order, by: tuple[NodeId, PeerKey], enclosed: Opened, now: Now
    ) -> str | None:
        """Why to refuse an order, or None. `enclosed`: its certificate's signatures, opened."""
        pool_log, certified = self.context.pool_log, self.context.leader_certificates
        if order.token.epoch != pool_log.epoch:
            return f"it is of epoch {order.token.epoch}, and this node follows {pool_log.epoch}"
        try:
            known = certified.known
            # The same bytes for the same log were verified before.
            same = known is not None and known.signatures == order.certificate
            if known is None or not same or known.log_id != pool_log.log_id:
                known = certified.judge(enclosed, pool_log.chain, pool_log.log_id, now)
            check_fresh(known.time_ms, now.wall_ms)
        except UnknownCommittee as error:
            if pool_log.waits_for_others:  # We may be behind: ask for proof; the order comes again.
                self.certificate_exchange.ask_proof(by[1], now)
            return error.message
        except Refusal as error:
            return error.message
        if (known.leader.node_id, known.leader.peer_key) != by:
            return "its certificate is another leader's"
        if known.term != order.token.term:
            return f"its certificate is of term {known.term}, not {order.token.term}"
        return None

    def worth_verifying(
        self, order: Order, by: tuple[NodeId, PeerKey], enclosed: Opened, now: Now
    ) -> bool:
        """Whether an order comes from a leader with a certificate in force, so that its submissions
        are worth verifying. Keeps nothing."""
        pool_log, certified = self.context.pool_log, self.context.leader_certificates
        if order.node_id != self.context.me or order.token.epoch != pool_log.epoch:
            return False
        try:
            found = certified.check(enclosed, pool_log.chain, pool_log.log_id, now)
        except Refusal:
            return False
        return (found.leader.node_id, found.leader.peer_key) == by

    def judge(self, desired: Desired, signers: Signers | None, at_s: int) -> str | None:
        """Why this copy must not start here, or None; judged as of its submission."""
        roster, state = self.context.roster.latest, self.context.pool_log.state
        return may_start(self.context.config.pool, roster, state, desired, signers, at_s)

    def withdrawn(self, desired: Desired) -> str | None:
        """Why nothing may begin any more under a submission that was judged before, or None: by
        the log as this node has applied it."""
        state, signed = self.context.pool_log.state, desired.signed.delegation
        if state is None or signed is None or not revoked(state, signed.delegation):
            return None
        return REVOKED

    def verdict(self, desired: Desired, now: Now) -> Verdict | None:
        """What the chain tells us of the contract accounts under this copy's submission, and under
        the request that set its secrets since: the worse of the two. None: it is asked, or our copy
        of the log has not come as far yet."""
        state = self.context.pool_log.state
        task = state.tasks.get(desired.allocation.task_id) if state is not None else None
        if task is None:
            return None
        asked = [(desired.signed, desired.judged_at, task.record.judged_at)]
        if desired.secrets is not None and desired.secrets.by_contract:
            renewed = task.record.secrets
            if renewed is None or renewed.signed != desired.secrets:
                return None  # The order, or our log, is the older one: the other comes.
            asked.append((desired.secrets, desired.secrets_judged_at, renewed.judged_at))
        found: list[Verdict | None] = []
        for signed, block, logged in asked:
            if not signed.by_contract:
                continue
            if block is None or block != logged:
                return Verdict(Validity.INVALID, "its order names another block than the log does")
            found.append(self.context.verdicts.at(signed, block, self.context.me, now))
        return _worst(found)

    def judge_secrets(
        self, desired: Desired, signers: Signers | None, owner: Signers | None, at_s: int
    ) -> str | None:
        """Why this copy must not get the secrets that were set since its submission, or None.
        `owner`: who signed the submission."""
        return may_set_secrets(
            pool=self.context.config.pool,
            roster=self.context.roster.latest,
            state=self.context.pool_log.state,
            desired=desired,
            signers=signers,
            owner=owner,
            at_s=at_s,
        )


def _worst(found: list[Verdict | None]) -> Verdict | None:
    """A no of the chain counts at once; else all of it has to be known."""
    for one in found:
        if one is not None and one.validity is Validity.INVALID:
            return one
    if None in found:
        return None
    unknown = (one for one in found if one is not None and one.validity is Validity.UNKNOWN)
    return next(unknown, found[-1] if found else None)
