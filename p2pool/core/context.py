"""What the parts of a node share: who it is, what it knows, and what it wants done.

One `Context` belongs to one `Node`, which alone steps it. Parts read what they need and append
their effects here in the order in which the agent must carry them out.
"""

from collections.abc import Callable
from random import Random

import attrs

from p2pool.core.effects import Effect, Level, Log, Publish, SendTo
from p2pool.core.knowledge.awaited_answers import AwaitedAnswers
from p2pool.core.knowledge.bindings import PeerBindings
from p2pool.core.knowledge.clock_offsets import ClockOffsets
from p2pool.core.knowledge.contract_verdicts import ContractVerdicts
from p2pool.core.knowledge.heartbeats import Heartbeats
from p2pool.core.knowledge.judgements import Judgements
from p2pool.core.knowledge.leadership.announced_leader import AnnouncedLeader
from p2pool.core.knowledge.leadership.leader_certificate import LeaderCertificates
from p2pool.core.knowledge.roster import Roster
from p2pool.core.knowledge.secret_blobs import SecretBlobs
from p2pool.core.knowledge.validator_roles import ValidatorRoles
from p2pool.core.knowledge.verdicts import ValidatorVerdicts
from p2pool.core.log.pool_log import PoolLog
from p2pool.core.node_status import NodeStatus, Status
from p2pool.model import features, limits
from p2pool.model.access.requests import SignedRequest, Signers
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.features import BASE_LEVEL, FeatureLevel
from p2pool.model.ids import Digest, NodeId, PeerKey, PoolRef
from p2pool.model.log.raft import Voter
from p2pool.model.messages.certificates import BadAppendProven, EquivocationProven
from p2pool.model.messages.gossip import Announcement, Heartbeat
from p2pool.model.messages.registry import Message
from p2pool.model.messages.verdicts import VerdictsAnnounced
from p2pool.model.ports.secrets import NoKeys, SecretKeys
from p2pool.model.states import RaftRole, Reachability
from p2pool.model.timing import Now
from p2pool.proofs.certificates import Opener

Gossip = Heartbeat | Announcement | EquivocationProven | BadAppendProven | VerdictsAnnounced


@attrs.frozen
class NodeConfig:
    """Who a node is: fixed from its start to its end.

    `newest_level`: the highest feature level that its program knows. `opens`: opens the sealed
    messages that a leader writes into the log; without it they are appended as they come.
    `recovers`: recovers who signed a request; without it nothing that this node orders itself to
    run has a good signature, and a leader's word counts for those in its entries. `trusted`: hashes
    of committees that its operator vouches for. `secret_keys`: opens what was sealed to us.
    """

    pool: PoolRef
    me: Voter
    incarnation: int
    agent_version: str
    committee_size: int = limits.COMMITTEE_DEFAULT
    ended_keep_ms: int = limits.ENDED_KEEP_DEFAULT_S * 1000
    newest_level: FeatureLevel = attrs.field(factory=features.newest)
    opens: Opener | None = None
    recovers: Callable[[SignedRequest], Signers | None] = lambda signed: None
    trusted: tuple[Digest, ...] = ()
    secret_keys: SecretKeys = NoKeys()


@attrs.define
class Context:
    """State that the parts of a node share.

    `suspects`: the nodes that this one misses right now, and why. `duplicate_identities`: nodes
    whose keys two agents use: the later one's incarnation, and until when we believe it.
    `store_failure`: why the store can no longer write. `joining`: how far this node is on its way
    into the pool; `stuck`: see `JoiningTold`.
    """

    config: NodeConfig
    rng: Random
    pool_log: PoolLog
    roster: Roster
    bindings: PeerBindings
    heartbeats: Heartbeats
    clocks: ClockOffsets
    verdicts: ContractVerdicts
    secrets: SecretBlobs
    validations: ValidatorVerdicts
    leader_certificates: LeaderCertificates = attrs.field(factory=LeaderCertificates)
    validator_roles: ValidatorRoles = attrs.field(factory=ValidatorRoles)
    store_failure: str | None = None
    joining: str | None = None
    stuck: str | None = None
    effects: list[Effect] = attrs.field(factory=list)
    numbers: Random = attrs.field(
        default=attrs.Factory(lambda self: Random(self.rng.getrandbits(64)), takes_self=True)
    )
    awaited: AwaitedAnswers = attrs.field(factory=AwaitedAnswers)
    announced: AnnouncedLeader = attrs.field(factory=AnnouncedLeader)
    judgements: Judgements = attrs.field(factory=Judgements)
    suspects: dict[NodeId, str] = attrs.field(factory=dict)
    duplicate_identities: BoundedDict[NodeId, tuple[int, int]] = attrs.field(
        factory=lambda: BoundedDict(limits.MEMBERS_MAX)
    )

    @property
    def me(self) -> NodeId:
        """This node's id."""
        return self.config.me.node_id

    @property
    def status(self) -> Status:
        """What this node may do: the first that applies, worst first."""
        if self.store_failure is not None:
            return Status(NodeStatus.STORE_FAILED, self.store_failure)
        if self.bindings.superseded is not None:
            return Status(NodeStatus.SUPERSEDED, self.bindings.superseded)
        if self.pool_log.too_old is not None:
            return Status(NodeStatus.TOO_OLD, str(self.pool_log.too_old))
        if self.pool_log.doubted:
            return Status(NodeStatus.CHECKING_STORE)
        if self.pool_log.previous_epoch is not None:
            return Status(NodeStatus.FORMER_EPOCH)
        if self.pool_log.role is RaftRole.IDLE:
            return Status(NodeStatus.OBSERVER)
        return Status(NodeStatus.PARTICIPANT)

    @property
    def level(self) -> FeatureLevel:
        """The feature level of the log that this node follows."""
        state = self.pool_log.state
        return state.level if state is not None else BASE_LEVEL

    def request(self) -> int:
        """The number for this node's next question: random, so that nobody foresees it and answers
        what it was not asked. Never 0."""
        return 1 + self.numbers.randrange(limits.REQUEST_NUMBER_MAX)

    def send(self, node_id: NodeId, message: Message) -> bool:
        """Send to a node by the peer key bound to it; False if none is known."""
        key = self.bindings.key_of(node_id)
        if key is None:
            return False
        self.tell(key, message)
        return True

    def tell(self, peer_key: PeerKey, message: Message) -> None:
        """Send to a peer."""
        self.effects.append(SendTo(peer_key, message))

    def publish(self, message: Gossip) -> None:
        """Gossip a message."""
        self.effects.append(Publish(message))

    def log(self, level: Level, event: str, **fields: str | int) -> None:
        """Write a log line."""
        self.effects.append(Log(level, event, tuple(fields.items())))

    def leader(self, now: Now) -> NodeId | None:
        """The leader: a participant asks Raft, any other node believes fresh announcements."""
        if self.pool_log.role is not RaftRole.IDLE:
            return self.pool_log.leader
        return self.announced.fresh(now)

    def note_duplicate(self, node_id: NodeId, later: int, sent_at_ms: int, now: Now) -> None:
        """We heard an earlier start of a node; if it spoke after the later one had begun (an
        incarnation is the time of a start), two agents run with its keys."""
        if sent_at_ms > later + limits.CLONE_MARGIN_MS:
            self.duplicate_identities[node_id] = (later, now.mono_ms + limits.DOUBLED_MS)

    def duplicates_now(self, now: Now) -> tuple[NodeId, ...]:
        """Nodes whose keys two agents use, to our knowledge; a still later start ends it."""
        for node_id, (later, until_ms) in tuple(self.duplicate_identities.items()):
            beat = self.heartbeats.newest.get(node_id)
            if now.mono_ms >= until_ms or (beat is not None and beat.incarnation > later):
                del self.duplicate_identities[node_id]
        return tuple(self.duplicate_identities)

    def note_judged(self, now: Now) -> None:
        """Note the nodes that the log judges gone: a sign of life counts only from now on."""
        state = self.pool_log.state
        gone = (Reachability.UNREACHABLE, Reachability.DEAD)
        nodes = state.nodes.values() if state is not None else ()
        self.judgements.note((n.node_id for n in nodes if n.reachability in gone), now)

    def heard_ms(self, node_id: NodeId) -> int | None:
        """When a node's newest heartbeat arrived, on the monotonic clock."""
        beat = self.heartbeats.newest.get(node_id)
        return beat.heard_at.mono_ms if beat is not None else None
