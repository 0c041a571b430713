"""What can happen to a node: the inputs of `Node.step`, each a past participle.

Drivers turn the world into these. Nothing returns by callback: the outcome of an effect comes back
as one of these too. Inputs of the worker are in `core.worker.events`.
"""

import attrs

from p2pool.model import limits
from p2pool.model.access.requests import Signers
from p2pool.model.chain.roster import ChainRoster
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.machine.hardware import Hardware, Load
from p2pool.model.messages.registry import Verified
from p2pool.model.ports.agent import Ask, LogEndsCommand


@attrs.frozen
class Ticked:
    """Time has passed; also sent when `Node.next_wakeup_ms` is reached."""


@attrs.frozen
class Received:
    """A verified message. `peer_key` is the connection it came over; None for gossip.

    Its sender's binding is known, it is no replay, and where its kind has a clock, that agrees.
    `signers` are those recovered from the signed requests inside it, in their order (None where a
    signature does not verify): elliptic curves are not the core's business. Nor are the sealed
    messages inside it: `enclosed` are they, opened, in their order (None where one is no good).
    """

    verified: Verified
    peer_key: PeerKey | None
    signers: tuple[Signers | None, ...] = ()
    enclosed: tuple[Verified | None, ...] = ()


@attrs.frozen
class Sender:
    """Who sent a message, and with what: the message as it was opened, and the signers and the
    enclosed messages of `Received`."""

    verified: Verified = attrs.field(repr=False)
    signers: tuple[Signers | None, ...] = ()
    enclosed: tuple[Verified | None, ...] = attrs.field(default=(), repr=False)

    @property
    def node_id(self) -> NodeId:
        """The node that sent it."""
        return self.verified.header.node_id

    @property
    def peer_key(self) -> PeerKey:
        """The key that it signed with."""
        return self.verified.header.peer_key


@attrs.frozen
class Sealed:
    """A message of our own, sealed as `Seal` asked for."""

    verified: Verified


@attrs.frozen
class StrangerHeard:
    """Good bytes by a node whose binding is not known here: who is it?"""

    node_id: NodeId
    peer_key: PeerKey


@attrs.frozen
class ClockDiffered:
    """A good frame of a connected node was refused because its clock and ours do not agree."""

    node_id: NodeId
    sent_at_ms: int


@attrs.frozen
class OutdatedHeard:
    """Good bytes of a node that were older than what was heard of it: of an earlier start of its,
    or another agent uses its keys. `beat`: they were this heartbeat, as it was sealed; `hello`: the
    later start's, as it was sealed, where it said hello to us. `later`: its incarnation."""

    node_id: NodeId
    peer_key: PeerKey
    beat: bytes = attrs.field(default=b"", repr=False)
    hello: bytes = attrs.field(default=b"", repr=False)
    sent_at_ms: int = 0
    later: int = 0


@attrs.frozen
class PeerConnected:
    """A peer's first connection stands; who it is follows with its hello."""

    peer_key: PeerKey


@attrs.frozen
class PeerDisconnected:
    """A peer's last connection is gone: a hint, never a verdict."""

    peer_key: PeerKey


@attrs.frozen
class ChainObserved:
    """The roster at the latest block minus k, and at the last finalized block.

    `warning`: what is wrong with the endpoints although they answer; None when nothing is.
    """

    latest: ChainRoster
    final: ChainRoster
    warning: str | None = None


@attrs.frozen
class ChainUnreachable:
    """No endpoint answers sensibly: the last roster stands."""

    reason: str


@attrs.frozen
class HardwareObserved:
    """What this machine offers, and how loaded it is.

    `trouble`: why no work should come (its disk is full). `notes`: what is wrong with parts of it
    that are not offered or not well, which stops nothing else (a GPU that was lost).
    `lost_gpus`: UUIDs that are gone, or not well, for good; never for want of an answer.
    """

    hardware: Hardware
    load: Load
    trouble: str | None = None
    notes: tuple[str, ...] = ()
    lost_gpus: tuple[str, ...] = ()


@attrs.frozen
class RuntimeObserved:
    """Whether the container engine answers, and why it does not."""

    well: bool
    reason: str | None = None


@attrs.frozen
class Asked:
    """A request of the local API, answered by `Reply` with the same number before the deadline.

    `signers`: who signed the request in it, where there is one.
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
    """The disk refused: from now on this node promises nothing."""

    reason: str


@attrs.frozen
class StopAsked:
    """The agent is about to end in an orderly way."""


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
    | HardwareObserved
    | RuntimeObserved
    | AddressesObserved
    | Asked
    | LoopLagged
    | PersistFailed
    | StopAsked
)
"""Any input of the node but the worker's own."""
