"""The state machines of nodes and allocations, as tables that leave out every illegal transition.

Three independent fields describe a node (docs/design/health.md, "Three fields"): membership (the
chain's word), reachability (the pool's judgement) and intent (what its owner or the manager wants).
Each table maps state -> {event -> next state}; an event without a row in a state changes nothing
there and `advance` refuses it. `*_DEADLINES` say how long a state may last before the named event
is raised on its behalf, so every state has an exit.
"""

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import TypeVar

from p2pool.model import limits


class Standing(Enum):
    """What a connected peer may do here; decided by the agent from its hello, changed at any time.

    MEMBER: gossip, raft, work, query, logs. GUEST: query alone. REFUSED: is disconnected.
    """

    MEMBER = "member"
    GUEST = "guest"
    REFUSED = "refused"


class Membership(IntEnum):
    """A node's standing on the chain, refined by whether anybody has heard it."""

    APPLICANT = 0
    INVITED = 1
    ONBOARDING = 2
    STALLED = 3
    MEMBER = 4
    LEFT = 5


class MembershipEvent(IntEnum):
    """Events that change a node's membership."""

    INVITE_SEEN = 0
    INVITE_EXPIRED = 1
    JOINED = 2
    HEARTBEAT_SEEN = 3
    ONBOARDING_EXPIRED = 4
    LEFT_POOL = 5


MEMBERSHIP: Mapping[Membership, Mapping[MembershipEvent, Membership]] = {
    Membership.APPLICANT: {
        MembershipEvent.INVITE_SEEN: Membership.INVITED,
        MembershipEvent.JOINED: Membership.ONBOARDING,
    },
    Membership.INVITED: {
        MembershipEvent.INVITE_EXPIRED: Membership.APPLICANT,
        MembershipEvent.JOINED: Membership.ONBOARDING,
    },
    Membership.ONBOARDING: {
        MembershipEvent.HEARTBEAT_SEEN: Membership.MEMBER,
        MembershipEvent.ONBOARDING_EXPIRED: Membership.STALLED,
        MembershipEvent.LEFT_POOL: Membership.LEFT,
    },
    Membership.STALLED: {
        MembershipEvent.HEARTBEAT_SEEN: Membership.MEMBER,
        MembershipEvent.LEFT_POOL: Membership.LEFT,
    },
    Membership.MEMBER: {MembershipEvent.LEFT_POOL: Membership.LEFT},
    Membership.LEFT: {MembershipEvent.JOINED: Membership.ONBOARDING},
}


class ChainStanding(IntEnum):
    """A node's conclusion about another from its own finalized reads, at a block that it names."""

    UNKNOWN = 0
    IN = 1
    OUT = 2


class Reachability(IntEnum):
    """Whether the pool hears a node. SUSPECT is an observer's own and never replicated."""

    HEALTHY = 0
    SUSPECT = 1
    UNREACHABLE = 2
    DEAD = 3


class ReachabilityEvent(IntEnum):
    """Events that change a node's reachability in the log."""

    HEARD = 0
    CONFIRMED_UNREACHABLE = 1
    UNREACHABLE_EXPIRED = 2


REACHABILITY: Mapping[Reachability, Mapping[ReachabilityEvent, Reachability]] = {
    Reachability.HEALTHY: {ReachabilityEvent.CONFIRMED_UNREACHABLE: Reachability.UNREACHABLE},
    # An observer's display of a healthy node that it misses: no entry leads to it, or from it.
    Reachability.SUSPECT: {},
    Reachability.UNREACHABLE: {
        ReachabilityEvent.HEARD: Reachability.HEALTHY,
        ReachabilityEvent.UNREACHABLE_EXPIRED: Reachability.DEAD,
    },
    Reachability.DEAD: {ReachabilityEvent.HEARD: Reachability.HEALTHY},
}


class Intent(IntEnum):
    """The wish of a node's owner (drain) or of the pool's manager (ban)."""

    ELIGIBLE = 0
    DRAINING = 1
    DRAINED = 2
    BANNED = 3


class IntentEvent(IntEnum):
    """Events that change a node's intent. Only the manager lifts a ban; nothing overwrites it."""

    DRAIN_ASKED = 0
    DRAIN_FINISHED = 1
    RESUME_ASKED = 2
    BAN_ORDERED = 3
    BAN_LIFTED = 4


INTENT: Mapping[Intent, Mapping[IntentEvent, Intent]] = {
    Intent.ELIGIBLE: {
        IntentEvent.DRAIN_ASKED: Intent.DRAINING,
        IntentEvent.BAN_ORDERED: Intent.BANNED,
    },
    Intent.DRAINING: {
        IntentEvent.DRAIN_FINISHED: Intent.DRAINED,
        IntentEvent.RESUME_ASKED: Intent.ELIGIBLE,
        IntentEvent.BAN_ORDERED: Intent.BANNED,
    },
    Intent.DRAINED: {
        IntentEvent.RESUME_ASKED: Intent.ELIGIBLE,
        IntentEvent.BAN_ORDERED: Intent.BANNED,
    },
    Intent.BANNED: {IntentEvent.BAN_LIFTED: Intent.ELIGIBLE},
}


class AllocationState(IntEnum):
    """One copy of a task on one node."""

    PENDING = 0
    ASSIGNED = 1
    PULLING = 2
    STARTING = 3
    RUNNING = 4
    STOPPING = 5
    SUCCEEDED = 6
    FAILED = 7
    STOPPED = 8
    LOST = 9


class StartRefusal(IntEnum):
    """Whether a node refused to start a copy that another node may start, and for how long: PASSING
    may mend by itself (a port, the disk), LASTING needs the node's owner (a login, a registry)."""

    NONE = 0
    PASSING = 1
    LASTING = 2


class Health(IntEnum):
    """The latest result of the image's health check (HEALTHCHECK); none: it has no check."""

    NONE = 0
    STARTING = 1
    HEALTHY = 2
    UNHEALTHY = 3


_S = AllocationState
TERMINAL_ALLOCATION_STATES = frozenset({_S.SUCCEEDED, _S.FAILED, _S.STOPPED, _S.LOST})

# Reports are samples: an image that was being pulled may have run by the next one.
_SAID = frozenset(
    {_S.PULLING, _S.STARTING, _S.RUNNING, _S.STOPPING, _S.STOPPED, _S.FAILED, _S.SUCCEEDED}
)
"""What a node may say of a copy that it was given."""

ALLOCATION: Mapping[AllocationState, frozenset[AllocationState]] = {
    _S.PENDING: frozenset({_S.ASSIGNED, _S.STOPPED, _S.FAILED}),
    _S.ASSIGNED: _SAID | {_S.LOST},
    _S.PULLING: _SAID - {_S.PULLING} | {_S.LOST},
    _S.STARTING: frozenset({_S.RUNNING, _S.STOPPING, _S.STOPPED, _S.FAILED, _S.SUCCEEDED, _S.LOST}),
    # A restart policy restarts a container: running goes back to starting, never to pending.
    _S.RUNNING: frozenset({_S.STARTING, _S.STOPPING, _S.SUCCEEDED, _S.FAILED, _S.STOPPED, _S.LOST}),
    _S.STOPPING: frozenset({_S.STOPPED, _S.SUCCEEDED, _S.FAILED, _S.LOST}),
    _S.SUCCEEDED: frozenset(),
    _S.FAILED: frozenset(),
    _S.STOPPED: frozenset(),
    # A lost copy that is seen again takes the state it reports, as long as nothing replaced it.
    _S.LOST: _SAID,
}


class PoolStatus(IntEnum):
    """Status of a pool on chain."""

    PENDING = 0
    ACTIVE = 1
    COMPLETED = 2


class RaftRole(IntEnum):
    """Role of a participant in the log."""

    IDLE = 0
    LEARNER = 1
    FOLLOWER = 2
    PRE_CANDIDATE = 3
    CANDIDATE = 4
    LEADER = 5


MEMBERSHIP_DEADLINES: Mapping[Membership, tuple[MembershipEvent, int]] = {
    Membership.ONBOARDING: (MembershipEvent.ONBOARDING_EXPIRED, limits.ONBOARDING_STALL_MS),
}
"""The event that ends a state, and after how many milliseconds. An invitation ends when its invite
expires; the chain, the owner or the node itself decides how long the other states last."""

State = TypeVar("State", Membership, Reachability, Intent)
Event = TypeVar("Event", bound=IntEnum)


def advance(
    table: Mapping[State, Mapping[Event, State]], state: State, event: Event
) -> State | None:
    """The next state in a table, or None if the event has no row in this state."""
    return table[state].get(event)


def may_become(old: AllocationState, new: AllocationState) -> bool:
    """Whether an allocation may go from one state to another (staying is always allowed)."""
    return new is old or new in ALLOCATION[old]
