"""The agent itself: whether it takes part, its metrics, and its machine's container runtime."""

import attrs
from litestar import Response, get
from litestar.datastructures import State

from p2pool.api.resources.context import Meta, meta_of, peer_text, port_of, word
from p2pool.codec.json.hex import address_text
from p2pool.codec.text.stake import shortage_warning
from p2pool.model.errors import NotFound
from p2pool.model.ports.agent import (
    ChallengeStatus,
    JoinStatus,
    ProviderStatus,
    WebhookStatus,
    WorkStatus,
)
from p2pool.model.ports.view import View

# --- answers ------------------------------------------------------------------------------------


@attrs.frozen
class Webhook:
    """How deliveries of events to one receiver go."""

    name: str
    url: str
    kinds: tuple[str, ...]
    delivered: int
    failed: int
    given_up: int
    read_up_to: str
    failing_since_ms: int
    next_attempt_ms: int
    problem: str


@attrs.frozen
class Joining:
    """Where a node is on its way into the pool."""

    step: str
    progress: str
    finding: str
    waiting_on: str
    command: str
    since_ms: int


@attrs.frozen
class Provider:
    """What the chain last said of a node's provider; amounts in wei, as text; null: unknown."""

    account: str
    registered: bool | None
    whitelisted: bool | None
    coin_wei: str | None
    tokens_wei: str | None
    stake_wei: str | None
    stake_needed_wei: str | None
    unbonding_wei: str | None
    withdrawable_wei: str | None
    next_due_s: int
    read_at_ms: int
    problem: str


@attrs.frozen
class WorkPiece:
    """A piece of work of a copy on this node."""

    source: str
    key: str
    units: int
    state: str
    at_ms: int
    transaction: str
    why: str


@attrs.frozen
class Work:
    """What the copies on this node have done, on its way to the chain."""

    submits: bool
    judged: bool | None
    waiting: int
    submitted: int
    refused: int
    invalidated: int
    dropped: int
    units: str
    problem: str
    pieces: tuple[WorkPiece, ...]


@attrs.frozen
class Declined:
    """How many challenges were declined, for one reason."""

    code: str
    count: int


@attrs.frozen
class Challenges:
    """How validators' challenges of this node have gone since the agent's start. `off`: why none is
    taken; `last_*`: the last verdict that a validator told the node."""

    off: str
    running: bool
    served: int
    declined: tuple[Declined, ...]
    last_validator: str | None
    last_conclusion: str
    last_at_ms: int


@attrs.frozen
class Agent:
    """This agent itself."""

    node_id: str
    peer_id: str
    store_id: str
    role: str
    ready: bool
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    peers_connected: int
    webhooks: tuple[Webhook, ...] = ()
    joining: Joining | None = None
    provider: Provider | None = None
    work: Work | None = None
    challenges: Challenges | None = None


@attrs.frozen
class AgentAnswer:
    """Answer of `/v1/agent`."""

    meta: Meta
    agent: Agent


@attrs.frozen
class Readiness:
    """Whether this agent takes part, and what prevents it."""

    ready: bool
    problems: tuple[str, ...]


@attrs.frozen
class Health:
    """The process answers."""

    status: str


@attrs.frozen
class Lack:
    """Something that tasks may ask for and this machine lacks, and why."""

    feature: str
    reason: str


@attrs.frozen
class Runtime:
    """The container runtime of this machine."""

    kind: str
    version: str
    api_version: str
    gpu_support: bool
    operating_system: str
    architecture: str
    storage_driver: str
    cgroup_version: str
    warnings: tuple[str, ...]
    unsupported: tuple[Lack, ...]


# --- from a view to answers ---------------------------------------------------------------------


def agent_of(view: View) -> Agent:
    """This agent itself."""
    return Agent(
        node_id=address_text(view.node_id),
        peer_id=peer_text(view.peer_key),
        store_id=view.store_id.hex(),
        role=word(view.role),
        ready=view.ready,
        problems=problems_of(view),
        warnings=view.warnings,
        peers_connected=view.peers_connected,
    )


def problems_of(view: View) -> tuple[str, ...]:
    """What prevents this agent from taking part, in sentences."""
    if view.problems:
        return view.problems
    if view.roster is None:
        return ("The agent has not read the chain yet, so it knows no member of the pool.",)
    return () if view.leader is not None else ("No leader is known.",)


def _webhook(one: WebhookStatus) -> Webhook:
    return Webhook(**attrs.asdict(one))


def _joining(one: JoinStatus) -> Joining:
    return Joining(**attrs.asdict(one))


def _provider(one: ProviderStatus) -> Provider:
    told = attrs.asdict(one)
    for name, value in told.items():
        # Beyond what a reader of JSON takes for a number.
        if name.endswith("_wei") and value is not None:
            told[name] = str(value)
    return Provider(**{**told, "account": address_text(one.account)})


def _work(one: WorkStatus) -> Work:
    told = attrs.asdict(one, recurse=False)
    pieces = tuple(
        WorkPiece(**{**attrs.asdict(piece), "key": "0x" + piece.key.hex() if piece.key else ""})
        for piece in one.pieces
    )
    # Their sum is beyond what a reader of JSON takes for a number.
    return Work(**{**told, "units": str(one.units), "pieces": pieces})


def _challenges(one: ChallengeStatus) -> Challenges:
    by = one.last_validator
    return Challenges(
        off=one.off,
        running=one.running,
        served=one.served,
        declined=tuple(Declined(code, count) for code, count in one.declined),
        last_validator=address_text(by) if by is not None else None,
        last_conclusion=one.last_conclusion,
        last_at_ms=one.last_at_ms,
    )


def provider_warnings(one: ProviderStatus | None) -> tuple[str, ...]:
    """What a provider has to see to."""
    if one is None:
        return ()
    account, said = address_text(one.account), []
    if one.registered and one.stake_wei is not None:
        short = shortage_warning(one.account, one.stake_wei, one.stake_needed_wei or 0)
        said += [short] if short is not None else []
    if one.registered and one.whitelisted is False:
        said.append(f"The provider {account} is not whitelisted: ask the network's validator.")
    if one.coin_wei == 0:
        said.append(f"The provider {account} has no coin, so it can send no transaction.")
    return tuple(said)


def _warning(one: WebhookStatus) -> str | None:
    """What people have to see to, of one receiver of events."""
    if not one.problem and not one.given_up:
        return None
    now = f"does not get through: {one.problem}" if one.problem else "gets through"
    lost = f"; {one.given_up} messages were given up" if one.given_up else ""
    return f"The webhook {one.name} ({one.url}) {now}{lost}."


# --- routes -------------------------------------------------------------------------------------


@get("/v1/agent", summary="This agent itself")
async def agent(state: State) -> AgentAnswer:
    """This agent."""
    port = port_of(state)
    view, webhooks = port.view(), port.webhooks()
    joining, provider = port.joining(), port.provider()
    told = attrs.evolve(
        agent_of(view),
        webhooks=tuple(map(_webhook, webhooks)),
        joining=None if joining is None else _joining(joining),
        provider=None if provider is None else _provider(provider),
        work=_work(port.work()),
        challenges=_challenges(port.challenges()),
    )
    warned = provider_warnings(provider)
    warned += told.warnings + state.places.warnings() + tuple(filter(None, map(_warning, webhooks)))
    if state.certificate is not None:
        warned += state.certificate.warnings()
    return AgentAnswer(meta_of(view), attrs.evolve(told, warnings=warned))


@get("/v1/health", summary="Whether the process answers; needs no token", security=[])
async def health() -> Health:
    """Alive."""
    return Health("ok")


@get("/v1/readiness", summary="Whether this agent takes part; 503 where it does not")
async def readiness(state: State) -> Response[Readiness]:
    """Ready."""
    view = port_of(state).view()
    answer = Readiness(view.ready, problems_of(view))
    return Response(answer, status_code=200 if view.ready else 503)


@get("/metrics", summary="Prometheus metrics", media_type="text/plain")
async def metrics(state: State) -> Response[bytes]:
    """Metrics."""
    if not state.metrics:
        raise NotFound(
            "This agent serves no metrics: they are turned off.",
            hint="Set [metrics] enabled = true in its configuration, and restart it.",
        )
    text = port_of(state).metrics()
    return Response(text, media_type="text/plain; version=0.0.4")  # The framework adds a charset.


@get("/v1/runtime", summary="The container runtime of this machine, and what it cannot do")
async def runtime(state: State) -> Runtime:
    """What the container engine says of itself; 503 while it does not answer."""
    info = await port_of(state).runtime_info()
    return Runtime(
        kind=info.kind.value,
        version=info.version,
        api_version=info.api_version,
        gpu_support=info.gpu_support,
        operating_system=info.operating_system,
        architecture=info.architecture,
        storage_driver=info.storage_driver,
        cgroup_version=info.cgroup_version,
        warnings=info.warnings,
        unsupported=tuple(Lack(one.feature, one.reason) for one in info.unsupported),
    )
