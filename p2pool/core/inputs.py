"""What can happen to a node: the inputs of `Node.step`, each a past participle.

Drivers turn the world into these. Nothing returns by callback: an effect's outcome comes back as an
input too. The worker's inputs are in `core.worker.events`.
"""

import attrs

from p2pool.model import limits
from p2pool.model.access.requests import SignedRequest, Signers
from p2pool.model.access.verdicts import FinalBlock, Verdict
from p2pool.model.chain.roster import ChainRoster
from p2pool.model.ids import Address, NodeId, PeerKey
from p2pool.model.machine.hardware import Hardware, Load
from p2pool.model.messages.registry import Verified
from p2pool.model.ports.agent import Ask, LogEndsCommand
from p2pool.model.validation.verdict import SignedVerdict


@attrs.frozen
class Ticked:
    """Time has passed; also sent when `Node.next_wakeup_ms` is reached."""


@attrs.frozen
class Received:
    """A verified message. `peer_key` is the connection it came over; None for gossip.

    We know its sender's binding, it is no replay, and its time agrees with our clock if its kind
    demands that. Drivers do the cryptography: `signers` are recovered from the signed requests in
    it, in order (None if a signature is bad); `enclosed` are the sealed messages in it, opened, in
    order (None if one is bad).
    """

    verified: Verified
    peer_key: PeerKey | None
    signers: tuple[Signers | None, ...] = ()
    enclosed: tuple[Verified | None, ...] = ()


@attrs.frozen
class Sender:
    """Who sent a message, and with what: the verified message, and the signers and the enclosed
    messages of `Received`."""

    verified: Verified = attrs.field(repr=False)
    signers: tuple[Signers | None, ...] = ()
    enclosed: tuple[Verified | None, ...] = attrs.field(default=(), repr=False)

    @property
    def node_id(self) -> NodeId:
        """The node that sent it."""
        return self.verified.header.node_id

    @property
    def peer_key(self) -> PeerKey:
        """The key that signed it."""
        return self.verified.header.peer_key


@attrs.frozen
class Sealed:
    """A message of our own, sealed by a `Seal`."""

    verified: Verified


@attrs.frozen
class StrangerHeard:
    """A well-formed message came from a node whose binding we do not know: who is it?"""

    node_id: NodeId
    peer_key: PeerKey


@attrs.frozen
class ClockDiffered:
    """A connected node's valid frame was refused because its clock and ours disagree."""

    node_id: NodeId
    sent_at_ms: int


@attrs.frozen
class OutdatedHeard:
    """A valid message from an earlier start of a node than we know, or from another agent with its
    keys. `beat`: the message, if a heartbeat, as sealed; `hello`: the later start's hello to us, if
    any, as sealed. `later`: that start's incarnation. `asked`: the number of the question, if the
    message asks for bindings."""

    node_id: NodeId
    peer_key: PeerKey
    beat: bytes = attrs.field(default=b"", repr=False)
    hello: bytes = attrs.field(default=b"", repr=False)
    sent_at_ms: int = 0
    later: int = 0
    asked: int = 0


@attrs.frozen
class PeerConnected:
    """A peer's first connection is up; its hello will say who it is. `dialled`: by us."""

    peer_key: PeerKey
    dialled: bool = True


@attrs.frozen
class PeerDisconnected:
    """A peer's last connection is gone: a hint, never a verdict."""

    peer_key: PeerKey


@attrs.frozen
class ChainObserved:
    """The roster at the latest block minus k, and at the last finalized block.

    `warning`: what is wrong with the endpoints although they answer, if anything. `agreed`: two
    endpoints gave the same contents at these blocks, or there is no second one to ask because the
    chain is a development chain.
    """

    latest: ChainRoster
    final: ChainRoster
    warning: str | None = None
    agreed: bool = False


@attrs.frozen
class ChainUnreachable:
    """No endpoint gives a usable answer: the last roster stands."""

    reason: str


@attrs.frozen
class ContractSignaturesJudged:
    """What the chain said of the contract accounts under a request, when asked at this block."""

    signed: SignedRequest
    at: FinalBlock
    verdict: Verdict


@attrs.frozen
class ValidatorRoleRead:
    """Whether an account is a validator of the network, at a finalized block; None: nobody says."""

    account: Address
    holds: bool | None


@attrs.frozen
class VerdictReceived:
    """A validator told this node its verdict on a stream of its own, and signed it."""

    signed: SignedVerdict


@attrs.frozen
class HardwareObserved:
    """What this machine offers, and how loaded it is.

    `trouble`: why no work should come (its disk is full). `notes`: faults of single parts, which
    stop nothing else (a GPU that was lost). `lost_gpus`: UUIDs that are gone or broken for good;
    never because a tool did not answer.
    """

    hardware: Hardware
    load: Load
    trouble: str | None = None
    notes: tuple[str, ...] = ()
    lost_gpus: tuple[str, ...] = ()


@attrs.frozen
class RuntimeObserved:
    """Whether the container engine answers, and if not, why."""

    well: bool
    reason: str | None = None


@attrs.frozen
class Asked:
    """A request from the local API; a `Reply` with its number answers it before the deadline.

    `signers`: who signed the request in it, if there is one.
    """

    request_id: int
    request: Ask | LogEndsCommand
    signers: Signers | None = None
    deadline_ms: int = limits.REQUEST_DEADLINE_MS


@attrs.frozen
class AddressesObserved:
    """Where others can dial this agent."""

    addresses: tuple[str, ...]


@attrs.frozen
class LoopLagged:
    """The agent's own loop was late: it judges nobody for a while."""

    lag_ms: int


@attrs.frozen
class PersistFailed:
    """A write to disk failed: from now on this node promises nothing."""

    reason: str


@attrs.frozen
class JoiningTold:
    """How far this node is on its way into the pool, in sentences; None: it is on none.

    `stuck`: which transaction of its provider's is in no block for long; None: none, as far as this
    agent knows.
    """

    text: str | None
    stuck: str | None = None


@attrs.frozen
class StopAsked:
    """The agent is about to stop in an orderly way."""


Input = (
    Ticked
    | Received
    | Sealed
    | StrangerHeard
    | OutdatedHeard
    | ClockDiffered
    | PeerConnected
    | PeerDisconnected
    | ChainObserved
    | ChainUnreachable
    | ContractSignaturesJudged
    | ValidatorRoleRead
    | VerdictReceived
    | HardwareObserved
    | RuntimeObserved
    | AddressesObserved
    | Asked
    | LoopLagged
    | PersistFailed
    | JoiningTold
    | StopAsked
)
"""Any input of the node except the worker's."""
