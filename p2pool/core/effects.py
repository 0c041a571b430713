"""What a node wants done: the effects of `Node.step`, each an imperative.

The agent awaits a step's `Persist` effects before it carries out any other, and keeps their order.
The worker's effects (containers) are in `core.worker.events`.
"""

from enum import Enum

import attrs

from p2pool.core.worker.events import WorkerEffect
from p2pool.model.access.requests import SignedRequest
from p2pool.model.access.verdicts import FinalBlock
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import P2poolError
from p2pool.model.ids import Address, PeerKey
from p2pool.model.messages.registry import Message
from p2pool.model.ports.agent import Accepted, LogEnds
from p2pool.model.ports.store import PersistOp
from p2pool.model.ports.view import Event
from p2pool.model.states import Standing


@attrs.frozen
class Persist:
    """Make these operations durable before any other effect of this step."""

    operations: tuple[PersistOp, ...]


@attrs.frozen
class SendTo:
    """Seal a message and send it to a connected peer; lost if there is no connection."""

    peer_key: PeerKey
    message: Message


@attrs.frozen
class Publish:
    """Seal a message and gossip it (`Heartbeat`, `Announcement`, `EquivocationProven`,
    `BadAppendProven`, `VerdictsAnnounced`)."""

    message: Message


@attrs.frozen
class Seal:
    """Seal a message without sending it, and return it as `Sealed`: our own signature, to stand
    among those of others."""

    message: Message


@attrs.frozen
class AdmitPeer:
    """Admit a connected peer as member or guest, or refuse it, from now on."""

    peer_key: PeerKey
    standing: Standing


@attrs.frozen
class LearnPeer:
    """Note these addresses of a peer for dialling: its own word, or a hint of the peer `source`."""

    peer_key: PeerKey
    addresses: tuple[str, ...]
    source: PeerKey | None = None


@attrs.frozen
class Reply:
    """Answer an `Asked`: with a result, or with an error."""

    request_id: int
    result: Accepted | LogEnds | P2poolError


@attrs.frozen
class Emit:
    """Emit an event to all listeners."""

    event: Event


@attrs.frozen
class TakeInvite:
    """Join with this invite, which a peer handed to this node."""

    invite: Invite


@attrs.frozen
class JudgeContractSignatures:
    """Ask the chain, at the final block `at`, whether contract accounts signed a request; where no
    endpoint has that block's state any more, at `later`. Answered by `ContractSignaturesJudged`."""

    signed: SignedRequest
    at: FinalBlock
    later: FinalBlock | None = None


@attrs.frozen
class ReadValidatorRole:
    """Ask the chain, at the last final block, whether an account is a validator of the network.
    Answered by `ValidatorRoleRead`."""

    account: Address


@attrs.frozen
class BeginAnew:
    """Begin this agent anew from its store, as a later run."""


class Level(Enum):
    """Level of a log line."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@attrs.frozen
class Log:
    """Write a log line: an event and its fields. Never a secret."""

    level: Level
    event: str
    fields: tuple[tuple[str, str | int], ...] = ()


Effect = (
    Persist
    | SendTo
    | Publish
    | Seal
    | AdmitPeer
    | LearnPeer
    | Reply
    | Emit
    | TakeInvite
    | JudgeContractSignatures
    | ReadValidatorRole
    | BeginAnew
    | Log
)
"""Any effect of the node except the worker's."""


AnyEffect = Effect | WorkerEffect
