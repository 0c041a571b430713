"""One attempt of one allocation on this node: what is wanted of it, and its state.

The worker makes one when an order names the attempt, or when a listing shows a container without a
known order (after a disk was lost): it reports such a container and never touches it unless an
order stops it. `StoredAttempt` holds what must survive a restart; a listing finds the container
again. `previous_epoch`: it began under an earlier log, and no order of this one has named it.
`fresh`: its order came since the agent's start. `unjudged`: the chain has not told this node yet
that a contract account signed its submission; `secrets_unjudged`: the same for the request that set
its secrets since.

Invariants: states follow `states.ALLOCATION`; one effect is in flight for an item at a time; each
run of its container ends once (`counted_ms`: the start of the last run whose end has counted).
"""

import attrs

from p2pool.codec.cbor.structs import decode_struct
from p2pool.codec.json.hex import address_text
from p2pool.codec.spec.secrets import parse_renewal
from p2pool.codec.spec.spec import parse_spec, spec_hash
from p2pool.codec.text.clip import clipped
from p2pool.model import features, limits
from p2pool.model.access.requests import Signers
from p2pool.model.features import since
from p2pool.model.ids import ADDRESS_BYTES, Address, AllocationId, NodeId, PoolRef, Token
from p2pool.model.log.entries import Outcome
from p2pool.model.messages.work import Desired
from p2pool.model.ports.runtime import ContainerPlan, ContainerState, ContainerStatus, PullProgress
from p2pool.model.states import (
    TERMINAL_ALLOCATION_STATES,
    AllocationState,
    Health,
    StartRefusal,
    may_become,
)
from p2pool.model.tasks.secrets import NO_SECRETS, SecretOwner, TaskSecrets
from p2pool.model.tasks.spec import OnDisconnect, RestartMode, TaskSpec

Key = tuple[AllocationId, int]
S = AllocationState


@attrs.frozen
class StoredAttempt:
    """What the disk keeps of an item."""

    allocation: AllocationId
    attempt: int
    token: Token
    desired: Desired | None
    state: AllocationState
    stop_wanted: bool
    restarts: int
    reason: str
    exit_code: int | None
    oom_killed: bool
    image_digest: str
    settled: bool
    previous_epoch: bool
    signers: Signers | None
    counted_ms: int
    refused: StartRefusal = since(2, default=StartRefusal.NONE)
    unjudged: bool = since(2, default=False)
    secret_signers: Signers | None = since(2, default=None)
    secrets_unjudged: bool = since(2, default=False)


@attrs.define
class Attempt:
    """One attempt; see the module."""

    allocation: AllocationId
    attempt: int
    token: Token
    desired: Desired | None = None
    spec: TaskSpec | None = None
    state: AllocationState = S.ASSIGNED
    stop_wanted: bool = False
    restarts: int = 0
    reason: str = ""
    exit_code: int | None = None
    oom_killed: bool = False
    image_digest: str = ""
    settled: Outcome | None = None
    container: ContainerStatus | None = None
    busy: bool = False
    missing: int = 0
    failures: int = 0
    retry_ms: int = 0
    progress: PullProgress | None = None
    failing: str = ""
    failing_for_good: bool = False
    fetching: bool = False
    counted_ms: int = 0
    stop_reason: str = ""
    previous_epoch: bool = False
    signers: Signers | None = None
    refused: StartRefusal = StartRefusal.NONE
    trouble_since_ms: int | None = None
    fresh: bool = False
    unjudged: bool = False
    renewed: TaskSecrets | None = None
    secret_signers: Signers | None = None
    secrets_unjudged: bool = False

    # --- secrets ----------------------------------------------------------------------------------

    @property
    def secrets(self) -> TaskSecrets:
        """The secrets that it gets: those set last, or those of its submission."""
        if self.renewed is not None:
            return self.renewed
        return self.spec.secrets if self.spec is not None else NO_SECRETS

    def secret_owner(self, pool: PoolRef) -> SecretOwner:
        """The request that they have to be for."""
        assert self.desired is not None
        signed, signers = self.desired.secrets, self.secret_signers
        if signed is None:
            signed, signers = self.desired.signed, self.signers
        account = signers.signer if signers is not None else Address(bytes(ADDRESS_BYTES))
        return SecretOwner(pool, account, signed.request.request_id)

    def renew_secrets(self, desired: Desired, signers: Signers | None) -> None:
        """Its secrets were set anew: it gets these at its next start. Raises what makes the request
        none."""
        assert desired.secrets is not None
        self.renewed = parse_renewal(desired.secrets.request.spec_json).secrets
        self.desired, self.secret_signers = desired, signers
        self.secrets_unjudged = desired.secrets.by_contract

    # --- reading ----------------------------------------------------------------------------------

    @property
    def key(self) -> Key:
        """Its name among the items."""
        return self.allocation, self.attempt

    @property
    def ended(self) -> bool:
        """Whether it is over for good."""
        return self.state in TERMINAL_ALLOCATION_STATES

    @property
    def alive(self) -> bool:
        """Whether it runs, or may: it then holds its GPUs."""
        return self.runs or self.busy

    @property
    def runs(self) -> bool:
        """Whether its container was last seen running."""
        return self.container is not None and self.container.state is ContainerState.RUNNING

    @property
    def claimed(self) -> bool:
        """Whether it began under an earlier log and the pool should adopt it."""
        begun = self.desired is not None and self.container is not None
        return self.previous_epoch and begun and not (self.ended or self.stop_wanted)

    @property
    def unclaimable(self) -> bool:
        """Whether it began under an earlier log and this node does not know its submission."""
        return self.previous_epoch and self.desired is None and not self.ended

    @property
    def gpus(self) -> tuple[str, ...]:
        """The GPUs assigned to it."""
        if self.desired is not None:
            return self.desired.gpus
        return self.container.gpus if self.container is not None else ()

    @property
    def grace_ms(self) -> int:
        """How long it may take to stop by itself."""
        grace_s = self.spec.stop_grace_s if self.spec else limits.STOP_GRACE_DEFAULT_S
        return grace_s * 1000

    @property
    def unled_max_ms(self) -> int | None:
        """How long it may run without a leader; None: for ever."""
        spec = self.spec
        ends = spec is not None and spec.on_disconnect is OnDisconnect.STOP
        if spec is None or not ends or spec.reconnect_window_s < 0 or self.ended:
            return None
        return spec.reconnect_window_s * 1000

    def outcome(self) -> Outcome:
        """Its state as reported. Only an end carries all details, and a failing start its reason:
        progress does not belong in the log."""
        if not self.ended:
            reason = self.short_reason if self.failures else ""
            return Outcome(
                self.allocation, self.attempt, self.state, reason, image_digest=self.image_digest
            )
        return Outcome(
            allocation=self.allocation,
            attempt=self.attempt,
            state=self.state,
            reason=self.short_reason,
            exit_code=self.exit_code,
            oom_killed=self.oom_killed,
            image_digest=self.image_digest,
            refused=self.refused,
        )

    @property
    def short_reason(self) -> str:
        """Its reason, as long as reports and the disk have room for."""
        return clipped(self.reason, limits.REFUSAL_TEXT_MAX_BYTES)

    @property
    def news(self) -> bool:
        """Whether it has something to report that the leader has not settled."""
        return self.state is not S.ASSIGNED and self.outcome() != self.settled

    # --- changing ---------------------------------------------------------------------------------

    def become(self, state: AllocationState, reason: str = "") -> bool:
        """Move along the table; False if the table forbids it."""
        if not may_become(self.state, state):
            return False
        if state is not S.PULLING:
            self.progress = None
        self.state, self.reason = state, reason or self.reason
        return True

    def wants_restart(self, exit_code: int | None) -> bool:
        """Whether its policy restarts a container that ended with this exit code."""
        if self.spec is None or self.restarts >= self.spec.restart.attempts:
            return False
        mode = self.spec.restart.mode
        return mode is RestartMode.ALWAYS or (mode is RestartMode.ON_FAILURE and exit_code != 0)

    def backoff_ms(self) -> int:
        """How long to wait before the next try: doubling, with a cap."""
        first_ms = self.spec.restart.backoff_ms if self.spec else limits.RESTART_BACKOFF_MIN_MS
        doubled = first_ms << min(max(0, self.restarts + self.failures - 1), 20)
        return min(doubled, limits.RESTART_BACKOFF_MAX_MS)

    @property
    def health(self) -> Health:
        """What its health check says while it runs."""
        return self.container.health if self.container is not None and self.runs else Health.NONE

    def plan(self, pool: PoolRef, node_id: NodeId) -> ContainerPlan:
        """What the runtime should start."""
        assert self.desired is not None
        assert self.spec is not None
        text = self.desired.signed.request.spec_json
        named = {
            "P2POOL_TASK_ID": self.allocation.task_id.hex(),
            "P2POOL_ALLOCATION": str(self.allocation),
            "P2POOL_REPLICA": str(self.allocation.replica),
            "P2POOL_REPLICAS": str(self.spec.replicas),
            "P2POOL_ATTEMPT": str(self.attempt),
            "P2POOL_NODE_ID": address_text(node_id),
            "P2POOL_POOL_ID": str(pool.pool_id),
            "P2POOL_GPUS": ",".join(self.gpus),
        }
        return ContainerPlan(
            allocation=self.allocation,
            attempt=self.attempt,
            token=self.token,
            spec=self.spec,
            spec_hash=spec_hash(text),
            gpus=self.gpus,
            environment=tuple(named.items()),
        )

    # --- disk -------------------------------------------------------------------------------------

    def stored(self) -> StoredAttempt:
        """What the disk keeps of it."""
        return StoredAttempt(
            allocation=self.allocation,
            attempt=self.attempt,
            token=self.token,
            desired=self.desired,
            state=self.state,
            stop_wanted=self.stop_wanted,
            restarts=self.restarts,
            reason=self.short_reason,
            exit_code=self.exit_code,
            oom_killed=self.oom_killed,
            image_digest=self.image_digest,
            settled=self.settled == self.outcome(),
            previous_epoch=self.previous_epoch,
            signers=self.signers,
            counted_ms=self.counted_ms,
            refused=self.refused,
            unjudged=self.unjudged,
            secret_signers=self.secret_signers,
            secrets_unjudged=self.secrets_unjudged,
        )


def has_row(allocation: AllocationId, attempt: int) -> bool:
    """Whether a row can be kept of a copy: no correct leader names one with a number below zero."""
    return allocation.replica >= 0 and attempt >= 0


def row_key(key: Key) -> bytes:
    """The key of an item's row; such as `has_row`."""
    allocation, attempt = key
    number = allocation.replica.to_bytes(8, "big") + attempt.to_bytes(8, "big")
    return allocation.task_id + number


def item_of(row: bytes) -> Attempt:
    """The item in a row."""
    kept = decode_struct(StoredAttempt, row)
    item = take(kept.allocation, kept.attempt, kept.token, kept.desired)
    item.state, item.stop_wanted, item.restarts = kept.state, kept.stop_wanted, kept.restarts
    item.reason, item.exit_code, item.oom_killed = kept.reason, kept.exit_code, kept.oom_killed
    item.counted_ms, item.refused = kept.counted_ms, kept.refused
    item.image_digest = kept.image_digest
    item.settled = item.outcome() if kept.settled else None
    item.previous_epoch, item.signers = kept.previous_epoch, kept.signers
    item.unjudged = kept.unjudged
    item.secret_signers = kept.secret_signers
    item.secrets_unjudged = kept.secrets_unjudged
    return item


def take(allocation: AllocationId, attempt: int, token: Token, desired: Desired | None) -> Attempt:
    """A new item, with its specification parsed, if it has one."""
    if desired is None:
        return Attempt(allocation=allocation, attempt=attempt, token=token)
    spec = parse_spec(desired.signed.request.spec_json, features.newest())
    made = Attempt(allocation=allocation, attempt=attempt, token=token, desired=desired, spec=spec)
    if desired.secrets is not None:
        made.renew_secrets(desired, None)
    return made
