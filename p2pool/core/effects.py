"""What a node wants done: the effects of `Node.step`, each an imperative.

The agent awaits the `Persist` effects of a step before it carries out any other, and these in
order. Effects of the worker (containers) are in `core.worker.events`.
"""

from enum import Enum

import attrs

from p2pool.core.worker.events import WorkerEffect
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import P2poolError
from p2pool.model.ids import PeerKey
from p2pool.model.messages.registry import Message
from p2pool.model.ports.agent import Accepted, LogEnds
from p2pool.model.ports.store import PersistOp
from p2pool.model.ports.view import Event
from p2pool.model.states import Standing


@attrs.frozen
class Persist:
    """Make these operations durable before anything else of this step is done."""

    operations: tuple[PersistOp, ...]


@attrs.frozen
class SendTo:
    """Seal a message and send it to a connected peer; lost if there is no connection."""

    peer_key: PeerKey
    message: Message


@attrs.frozen
class Publish:
    """Seal a message and gossip it (`Heartbeat`, `Announcement`, `EquivocationProven`)."""

    message: Message


@attrs.frozen
class Seal:
    """Seal a message as if it were to be sent, and give it back as `Sealed`: our own signature
    among those of others."""

    message: Message


@attrs.frozen
class AdmitPeer:
    """What a connected peer may do from now on: member, guest or refused."""

    peer_key: PeerKey
    standing: Standing


@attrs.frozen
class LearnPeer:
    """A peer is worth dialling at these addresses."""

    peer_key: PeerKey
    addresses: tuple[str, ...]


@attrs.frozen
class Reply:
    """The answer to `Asked`: accepted, or an error of the tree."""

    request_id: int
    result: Accepted | LogEnds | P2poolError


@attrs.frozen
class Emit:
    """An event for whoever listens."""

    event: Event


@attrs.frozen
class TakeInvite:
    """An invite for this node was handed to it: join with it."""

    invite: Invite


class Level(Enum):
    """Level of a log line."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@attrs.frozen
class Log:
    """A log line: an event name and its fields. Never a secret."""

    level: Level
    event: str
    fields: tuple[tuple[str, str | int], ...] = ()


Effect = Persist | SendTo | Publish | Seal | AdmitPeer | LearnPeer | Reply | Emit | TakeInvite | Log
"""Any effect of the node but the worker's own."""


AnyEffect = Effect | WorkerEffect
