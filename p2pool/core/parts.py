"""The parts of one node, by name, and what the conductor asks of each.

Intuition: code that needs one part gets that part; code that needs many (the conductor, the
dispatch of messages) gets this record. No part gets the node, so a part's constructor shows what it
depends on.

Invariants: `core.node` makes it once; only the leader comes and goes. The order of the fields means
nothing: a step goes through the parts in the order of `Node._in_order`.
"""

from collections.abc import Callable
from typing import Protocol

import attrs

from p2pool.core.context import Context
from p2pool.core.follower.bad_appends import BadAppends
from p2pool.core.follower.certificate_exchange import CertificateExchange
from p2pool.core.follower.order_check import OrderCheck
from p2pool.core.follower.replica import FollowerReplica
from p2pool.core.leader.leader import Leader
from p2pool.core.local.heartbeat import HeartbeatSender
from p2pool.core.local.machine import Machine
from p2pool.core.peers.answer_budget import AnswerBudget
from p2pool.core.peers.equivocation import EquivocationLog
from p2pool.core.peers.exchange import PeerExchange
from p2pool.core.peers.invites import Invites
from p2pool.core.peers.probes import Probes
from p2pool.core.peers.verdict_exchange import VerdictExchange
from p2pool.core.requests.client_requests import ClientRequests
from p2pool.core.requests.log_survey import LogSurvey
from p2pool.core.secrets.distribution import SecretDistribution
from p2pool.core.secrets.key_exchange import SecretKeyExchange
from p2pool.core.voter.chain_agreement import ChainAgreement
from p2pool.core.voter.eligibility import LeaderEligibility
from p2pool.core.voter.history_signatures import HistorySignatures
from p2pool.core.voter.signatures import VoterSignatures
from p2pool.core.voter.store_identity import StoreIdentity
from p2pool.core.worker.worker import Worker
from p2pool.model.timing import Now


class Part(Protocol):
    """Something that does its own work when it is due."""

    def tick(self, now: Now) -> None:
        """Do what is due."""

    def wakeup_ms(self) -> int | None:
        """When something is due next, on the monotonic clock; None: it keeps no time of its own."""


def _no_time_of_its_own() -> int | None:
    return None


@attrs.frozen
class Between:
    """What the conductor itself does between two parts, shaped as a part."""

    act: Callable[[Now], None]
    due_ms: Callable[[], int | None] = _no_time_of_its_own

    def tick(self, now: Now) -> None:
        """Do it."""
        self.act(now)

    def wakeup_ms(self) -> int | None:
        """When it is due next."""
        return self.due_ms()


@attrs.define
class Parts:
    """The parts of one node. `leader`: while this node leads."""

    context: Context
    replica: FollowerReplica
    worker: Worker
    order_check: OrderCheck
    probes: Probes
    answer_budget: AnswerBudget
    invites: Invites
    exchange: PeerExchange
    requests: ClientRequests
    log_survey: LogSurvey
    eligibility: LeaderEligibility
    chain_agreement: ChainAgreement
    signatures: VoterSignatures
    history_signatures: HistorySignatures
    certificate_exchange: CertificateExchange
    equivocation: EquivocationLog
    bad_appends: BadAppends
    machine: Machine
    heartbeat: HeartbeatSender
    identity: StoreIdentity
    secret_distribution: SecretDistribution
    secret_key_exchange: SecretKeyExchange
    verdict_exchange: VerdictExchange
    leader: Leader | None = None

    @property
    def leading(self) -> Leader | None:
        """The leader, once an entry of its own term is applied: before, it decides nothing."""
        return self.leader if self.context.pool_log.leads else None
