"""The agent's configuration: one TOML file, overridden by P2POOL_SECTION__KEY in the environment.

Strict: an unknown key, a wrong type or an absurd number is refused. All problems of a file are
reported at once, each with its place and, for a misspelt key, the key that was probably meant.
Secrets are not configuration: keys and passphrases have files of their own (`drivers.keys`).
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import platformdirs

from p2pool.drivers.config.reader import Size, path_problem, read_section_tables, toml_text
from p2pool.drivers.config.validators import (
    LEVELS,
    Between,
    OneOf,
    SizeBetween,
    dialable_addresses,
    distinct_webhooks,
    event_kinds,
    full_addresses,
    host_names,
    isolating_runtime,
    known_levels,
    not_empty,
    path_prefix,
    prover_images,
    reachable_networks,
    registry_names,
    resolver_addresses,
    rpc_urls,
    subnet_ranges,
    webhook_name,
    webhook_url,
    websocket_url,
)
from p2pool.drivers.containers.settings import TASK_SUBNETS
from p2pool.drivers.input_files import is_stdin, read_input
from p2pool.drivers.paths import absolute_path
from p2pool.model import limits
from p2pool.model.errors import Misconfigured
from p2pool.model.ids import Address, PoolRef

CONFIG_NAME = "config.toml"
PREFIX = "P2POOL_"
NAMED_AGENT = "P2POOL_AGENT=DIR"


@attrs.frozen(kw_only=True)
class ContractAddresses:
    """`[chain.addresses]`: the contracts, as 0x and 40 hex digits."""

    network: Address
    """The PrimeNetwork contract: providers register and stake through it."""
    pool: Address
    """The ComputePool contract: it says which nodes are in the pool."""
    registry: Address
    """The ComputeRegistry contract: it knows providers and their nodes."""
    stake: Address
    """The StakeManager contract: it holds what providers have staked."""
    domains: Address
    """The DomainRegistry contract: a pool belongs to one of its domains."""
    token: Address
    """The AIToken contract: stakes are paid in it."""
    root: Address | None = None
    """The PoolRoot contract, which keeps root records beside pools; unset: at the address that
    follows from the pool contract's, if it is there."""


@attrs.frozen(kw_only=True)
class ChainConfig:
    """`[chain]`: which chain, through which RPC endpoints, how many confirmations deep."""

    id: int = attrs.field(validator=Between(1, 2**63 - 1))
    """The chain's id; an endpoint of another chain is refused."""
    endpoints: tuple[str, ...] = attrs.field(validator=rpc_urls)
    """URLs of RPC endpoints, the preferred one first; several of them check each other."""
    addresses: ContractAddresses
    confirmations: int = attrs.field(default=2, validator=Between(0, 1000))
    """How many blocks below the newest one a join counts. A removal waits for the chain's own
    finality."""
    final_depth: int | None = attrs.field(default=None, validator=Between(1, 100_000))
    """How many blocks below the newest one is final, where no endpoint says which block is; unset:
    such a chain cannot be followed."""
    websocket: str = attrs.field(default="", validator=websocket_url)
    """A URL, ws:// or wss://, at which an endpoint tells of new blocks by itself; empty: they are
    asked for."""
    fee_max_gwei: int = attrs.field(
        default=limits.GAS_FEE_MAX_DEFAULT_GWEI, validator=Between(1, limits.GAS_FEE_MAX_GWEI)
    )
    """The most that a transaction may offer for a unit of gas, base fee and tip together, in gwei;
    where a block costs more, transactions wait."""


@attrs.frozen(kw_only=True)
class PoolConfig:
    """`[pool]`: which pool of the chain's pool contract."""

    id: int = attrs.field(validator=Between(0, 2**63 - 1))
    """The pool's number in the pool contract."""


@attrs.frozen(kw_only=True)
class NetworkConfig:
    """`[network]`: where to listen, whom to dial first, and which addresses to announce."""

    listen: tuple[str, ...] = attrs.field(default=("/ip4/0.0.0.0/tcp/4001",), validator=not_empty)
    """Multiaddrs to listen on; port 0 takes a free one."""
    bootstrap: tuple[str, ...] = attrs.field(default=(), validator=full_addresses)
    """Multiaddrs, each with `/p2p/<peer id>`, of peers to begin with, beside those that the
    pool names on the chain."""
    announce: tuple[str, ...] = attrs.field(default=(), validator=dialable_addresses)
    """Multiaddrs at which others reach this agent or bootstrap node; none named: those of its
    interfaces, without loopback and the bridges of containers where there are others."""
    isolation: bool = True
    """Whether each task has a filtered network of its own; without it, tasks reach each other, this
    machine and its network."""
    subnets: tuple[str, ...] = attrs.field(default=TASK_SUBNETS, validator=subnet_ranges)
    """IPv4 networks out of which those of tasks are taken; what the machine routes is left out."""
    egress_allow: tuple[str, ...] = attrs.field(default=(), validator=reachable_networks)
    """What tasks may reach beside the public internet: networks, `private` for all networks of a
    site, `host` for this machine."""
    resolvers: tuple[str, ...] = attrs.field(default=(), validator=resolver_addresses)
    """Addresses of the servers that tasks ask for names; none named: those of the engine's
    machine."""


@attrs.frozen(kw_only=True)
class ApiConfig:
    """`[api]`: where the local API listens, and by which names it may be called."""

    bind: str = "127.0.0.1:8470"
    """`host:port` of the local API; any host but loopback needs a TLS certificate and key."""
    tls_bind: str = ""
    """`host:port` at which the API speaks TLS beside `bind`, which then stays plain, on loopback;
    empty: where there is a certificate, `bind` itself speaks TLS."""
    hosts: tuple[str, ...] = attrs.field(default=(), validator=host_names)
    """Names by which the API may be called, beside the address it listens on; that of a reverse
    proxy, if it passes its own on."""
    path_prefix: str = attrs.field(default="", validator=path_prefix)
    """The path below which a reverse proxy shows the API, such as "/p2pool"; whether the proxy
    passes it on or cuts it off, the API answers."""
    tls_certificate: Path | None = None
    """The API's certificate, a PEM file; a renewed one is taken without a restart."""
    tls_key: Path | None = None
    """The certificate's key, a PEM file."""


@attrs.frozen(kw_only=True)
class ResourcesConfig:
    """`[resources]`: caps on what the agent offers; without them, all that the machine has."""

    cpu_milli: int | None = attrs.field(default=None, validator=Between(0, limits.CPU_MILLI_MAX))
    """The most processor time to offer, in thousandths of a processor; unset: all of it."""
    memory_bytes: Size | None = attrs.field(
        default=None, validator=SizeBetween(limits.SIZE_MIN_BYTES, limits.RESOURCE_MAX_BYTES)
    )
    """The most memory to offer; unset: all of it."""
    disk_bytes: Size | None = attrs.field(
        default=None, validator=SizeBetween(limits.SIZE_MIN_BYTES, limits.RESOURCE_MAX_BYTES)
    )
    """The most disk space to offer; unset: all that is free."""
    gpus: int | None = attrs.field(default=None, validator=Between(0, limits.GPUS_PER_NODE_MAX))
    """The most GPUs to offer; unset: all of them."""
    gpu_uuids: tuple[str, ...] = ()
    """The GPUs to offer, by UUID; none named: any."""
    disk_reserve_bytes: Size = attrs.field(
        default=Size(limits.DISK_RESERVE_BYTES),
        validator=SizeBetween(limits.SIZE_MIN_BYTES, limits.RESOURCE_MAX_BYTES),
    )
    """With less than this free on the data directory's disk, the node takes no more tasks."""


@attrs.frozen(kw_only=True)
class RuntimeConfig:
    """`[runtime]`: what runs containers, and what of this machine they may use."""

    kind: str = attrs.field(default="auto", validator=OneOf(("auto", "docker", "process")))
    """What runs containers; auto: Docker where it answers, else plain processes, on development
    chains only."""
    docker_host: str = ""
    """The Docker Engine's address; empty: DOCKER_HOST, else docker's context, else the usual
    socket."""
    bind_directories: tuple[Path, ...] = ()
    """Directories that tasks may mount, read-only; nothing else of the host is ever mounted."""
    registries: tuple[str, ...] = attrs.field(default=(), validator=registry_names)
    """Registries, or parts of them, that images may come from; none named: any. Names of images
    are compared in their normal form: busybox is docker.io/library/busybox."""
    probe_image: str = ""
    """An image that checks run once, beside p2pool's own; where there are GPUs, in place of the
    usual one: it needs the C library that nvidia-smi wants."""
    ended_keep_s: int = attrs.field(
        default=limits.ENDED_KEEP_DEFAULT_S, validator=Between(0, limits.TASK_TIME_MAX_S)
    )
    """How long containers that ended are kept, for their log lines."""
    oci_runtime: str = attrs.field(default="runc", validator=isolating_runtime)
    """The engine's runtime that starts every copy, whatever its default is; runsc and kata isolate
    more. NVIDIA's is refused: it gives GPUs to whoever names some."""
    gpus: str = attrs.field(default="auto", validator=OneOf(("auto", "toolkit", "cdi")))
    """How containers get GPUs: NVIDIA's toolkit, or names of the Container Device Interface."""
    images_max_bytes: Size | None = attrs.field(
        default=None, validator=SizeBetween(limits.SIZE_MIN_BYTES, limits.RESOURCE_MAX_BYTES)
    )
    """Images that the agent fetched and nothing uses go when they take more, those unused for
    longest first; unset or 0: they stay."""
    disk_reserve_bytes: Size = attrs.field(
        default=Size(limits.DISK_RESERVE_DEFAULT_BYTES),
        validator=SizeBetween(limits.SIZE_MIN_BYTES, limits.RESOURCE_MAX_BYTES),
    )
    """This much stays free on the engine's disk: no image is fetched into it."""


@attrs.frozen(kw_only=True)
class ChallengeConfig:
    """`[challenge]`: whether validators may challenge this node's GPUs, with which program, and how
    often."""

    enabled: bool = True
    """Whether the node takes challenges; one that takes none is validated by nobody."""
    images: tuple[str, ...] = attrs.field(default=(), validator=prover_images)
    """The images of provers that may run here, the preferred one first; none named: no challenge is
    taken."""
    apart_s: int = attrs.field(default=600, validator=Between(0, 30 * 24 * 3600))
    """How long after a challenge begins the same validator may begin the next one."""
    per_hour: int = attrs.field(default=6, validator=Between(1, 3600))
    """How many challenges begin in an hour, of all validators together."""
    most_s: int = attrs.field(default=1800, validator=Between(10, 24 * 3600))
    """How long a challenge may keep the GPUs; then it is ended."""


@attrs.frozen(kw_only=True)
class VolumesConfig:
    """`[volumes]`: which volumes of ended tasks are kept. Pool volumes stay until somebody
    removes them."""

    keep_tasks: int = attrs.field(default=20, validator=Between(0, 100_000))
    """The volumes of so many ended tasks are kept, those of the latest."""
    keep_for_s: int = attrs.field(
        default=7 * 24 * 3600, validator=Between(0, limits.VOLUME_KEEP_MAX_S)
    )
    """How long the volumes of an ended task are kept; a task may ask for less."""


@attrs.frozen(kw_only=True)
class LogConfig:
    """`[log]`: what is logged, and in which form."""

    level: str = attrs.field(default="info", validator=OneOf(LEVELS))
    """The least level that is logged."""
    levels: Mapping[str, str] = attrs.field(factory=dict, validator=known_levels)
    """Levels of single modules, by their dotted names."""
    format: str = attrs.field(default="auto", validator=OneOf(("auto", "pretty", "json")))
    """The form of log lines; auto: pretty on a terminal, else json."""


@attrs.frozen(kw_only=True)
class MetricsConfig:
    """`[metrics]`: what the agent tells Prometheus, and how often it looks at the machine."""

    enabled: bool = True
    """Whether `/metrics` answers."""
    sample_interval_ms: int = attrs.field(default=5_000, validator=Between(500, 3_600_000))
    """How often the machine's load is sampled."""


@attrs.frozen(kw_only=True)
class WebhookConfig:
    """`[[notify.webhooks]]`: one receiver of the pool's events."""

    name: str = attrs.field(validator=webhook_name)
    """What it is called in logs, and by which name the agent knows how far it has read."""
    url: str = attrs.field(validator=webhook_url)
    """Where each event is posted."""
    secret_file: Path
    """The file with the secret that signs, `whsec_` and base64; two lines while it is exchanged.
    Only the agent's user may read it."""
    kinds: tuple[str, ...] = attrs.field(default=(), validator=event_kinds)
    """The kinds of events that it gets; none named: all."""
    allow_private: bool = False
    """Whether it may be in a private network, or on this machine."""
    ca_file: Path | None = None
    """The authorities that its certificate is checked by, a PEM file; unset: the machine's."""


@attrs.frozen(kw_only=True)
class NotifyConfig:
    """`[notify]`: to whom the agent sends the pool's events; to nobody by default."""

    webhooks: tuple[WebhookConfig, ...] = attrs.field(default=(), validator=distinct_webhooks)
    """The receivers. Each agent that names one sends to it."""


@attrs.frozen(kw_only=True)
class WorkConfig:
    """`[work]`: whether the agent submits to the chain what tasks ask it to. Each piece of work is
    a transaction of the provider's account, whose owner pays its gas."""

    submit: bool = False
    """Whether to submit the work of tasks that ask for it; the agent needs the provider's key."""
    per_hour_max: int = attrs.field(
        default=limits.WORK_PER_HOUR_DEFAULT, validator=Between(1, limits.WORK_PER_HOUR_MAX)
    )
    """The most pieces of work in an hour; others wait. What one may cost follows from
    `[chain] fee_max_gwei`: it takes some 60,000 gas."""


@attrs.frozen(kw_only=True)
class AgentConfig:
    """The whole configuration. Only `[chain]` and `[pool]` are required."""

    chain: ChainConfig
    pool: PoolConfig
    network: NetworkConfig = NetworkConfig()
    api: ApiConfig = ApiConfig()
    resources: ResourcesConfig = ResourcesConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    challenge: ChallengeConfig = ChallengeConfig()
    volumes: VolumesConfig = VolumesConfig()
    log: LogConfig = attrs.field(factory=LogConfig)
    metrics: MetricsConfig = MetricsConfig()
    notify: NotifyConfig = NotifyConfig()
    work: WorkConfig = WorkConfig()

    @property
    def pool_ref(self) -> PoolRef:
        """The pool to which data directory, envelopes and bindings are bound."""
        return PoolRef(self.chain.id, self.chain.addresses.pool, self.pool.id)


def default_directory(environ: Mapping[str, str] | None = None) -> Path:
    """The agent's data directory: P2POOL_DATA_DIR, else the platform's place for user data."""
    env = os.environ if environ is None else environ
    if env.get("P2POOL_DATA_DIR"):
        return absolute_path(env["P2POOL_DATA_DIR"])
    found = Path(platformdirs.user_data_dir("p2pool", appauthor=False))
    if not found.is_absolute():  # Without a home it would be a directory named ~, right here.
        raise Misconfigured(
            "This user has no home directory to keep data in.",
            hint="Set HOME, or name a directory: --data-dir, P2POOL_DATA_DIR.",
        )
    return found


def load_config(
    path: Path, env: Mapping[str, str] | None = None, *, elsewhere: str = NAMED_AGENT
) -> AgentConfig:
    """Read a file, with the environment's overrides (default: os.environ). `elsewhere`: how a
    caller names the directory of an agent that has one.

    Raises Misconfigured with every problem, one per line, each at its place (`chain.id`).
    """
    return _structured(f"The configuration {path}", _tables(path, elsewhere), env)


def read_config(text: str, named: str) -> AgentConfig:
    """As `load_config`, of text that is in no file yet, with no overrides. `named`: what errors
    call it."""
    return _structured(named, tomllib.loads(text), {})


def load_chain(path: Path, env: Mapping[str, str] | None = None) -> ChainConfig:
    """As `load_config`, before there is a pool: `[pool]` may be missing from the file.

    Without a file, the environment alone can set `P2POOL_CHAIN__ID` and the others.
    """
    environ = os.environ if env is None else env
    alone = not (is_stdin(path) or path.exists()) and any(
        name.startswith(f"{PREFIX}CHAIN__") for name in environ
    )
    tables = {} if alone else _tables(path)
    tables.setdefault("pool", {"id": 0})
    return _structured(f"The configuration {path}", tables, environ).chain


def override_problem(name: str) -> str:
    """What is wrong with the name of an override in the environment, or nothing."""
    return path_problem(AgentConfig, name, PREFIX)


def _tables(path: Path, elsewhere: str = NAMED_AGENT) -> dict[str, Any]:
    try:
        data = read_input(path, limits.CONFIG_MAX_BYTES, "configuration")
    except OSError as error:
        raise Misconfigured(
            f"The configuration {path} cannot be read: {error.strerror}.",
            hint="Name another, --config FILE or P2POOL_CONFIG, or an agent that has one:"
            f" {elsewhere}.",
        ) from error
    if len(data) > limits.CONFIG_MAX_BYTES:
        raise Misconfigured(f"The configuration {path} is over {limits.CONFIG_MAX_BYTES} bytes.")
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # A number may have too many digits for Python.
        raise Misconfigured(f"The configuration {path} is not TOML: {error}.") from error


def _structured(named: str, tables: dict[str, Any], env: Mapping[str, str] | None) -> AgentConfig:
    config, problems = read_section_tables(
        AgentConfig, tables, os.environ if env is None else env, PREFIX
    )
    if config is None:
        raise Misconfigured(
            f"{named} has {len(problems)} problem(s):\n  " + "\n  ".join(problems) + "\n"
        )
    return config


def write_config(cfg: AgentConfig, path: Path) -> None:
    """Write a file that `load_config` reads back unchanged; replaces an existing one.

    Writes defaults too, so a later version's defaults change nothing.
    """
    aside = path.with_name(f".{path.name}.new")
    try:
        aside.write_text(toml_text(cfg), encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        raise Misconfigured(
            f"The configuration {path} cannot be written: {error.strerror}."
        ) from error
