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

from p2pool.drivers.config.reader import Size, read_section_tables, toml_text
from p2pool.model import limits
from p2pool.model.errors import Misconfigured
from p2pool.model.ids import Address, PoolRef

CONFIG_NAME = "config.toml"
PREFIX = "P2POOL_"
LEVELS = ("debug", "info", "warning", "error")


def _one_of(*allowed: str) -> Any:
    def check(_self: Any, _field: Any, value: str) -> None:
        if value not in allowed:
            raise ValueError(f"{value!r} is not one of {', '.join(allowed)}")

    return check


def _between(least: int, most: int) -> Any:
    def check(_self: Any, _field: Any, value: int | None) -> None:
        if value is not None and not least <= value <= most:
            raise ValueError(f"{value} is not between {least} and {most}")

    return check


def _some(_self: Any, _field: Any, value: tuple[Any, ...]) -> None:
    if not value:
        raise ValueError("at least one is needed")


def _known_levels(_self: Any, _field: Any, value: Mapping[str, str]) -> None:
    for name, level in value.items():
        if level not in LEVELS:
            raise ValueError(f"level {level!r} of {name} is not one of {', '.join(LEVELS)}")


@attrs.frozen(kw_only=True)
class ContractAddresses:
    """`[chain.addresses]`: the contracts, as 0x and 40 hex digits."""

    network: Address
    pool: Address
    registry: Address
    stake: Address
    domains: Address
    token: Address


@attrs.frozen(kw_only=True)
class ChainConfig:
    """`[chain]`: which chain, through which RPC endpoints, how many confirmations deep."""

    id: int = attrs.field(validator=_between(1, 2**63 - 1))
    endpoints: tuple[str, ...] = attrs.field(validator=_some)
    addresses: ContractAddresses
    confirmations: int = attrs.field(default=2, validator=_between(0, 1000))


@attrs.frozen(kw_only=True)
class PoolConfig:
    """`[pool]`: the pool's number in the pool contract."""

    id: int = attrs.field(validator=_between(0, 2**63 - 1))


@attrs.frozen(kw_only=True)
class NetworkConfig:
    """`[network]`: multiaddrs to listen on, to start from, and to announce (default: found)."""

    listen: tuple[str, ...] = attrs.field(default=("/ip4/0.0.0.0/tcp/4001",), validator=_some)
    bootstrap: tuple[str, ...] = ()
    announce: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class ApiConfig:
    """`[api]`: `host:port`; any host but loopback needs a TLS certificate and key."""

    bind: str = "127.0.0.1:8470"
    hosts: tuple[str, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None


@attrs.frozen(kw_only=True)
class ResourcesConfig:
    """`[resources]`: caps on what the agent offers; without them, all that the machine has.

    `gpus` caps the number of GPUs; `gpu_uuids` names the ones to offer. With less than
    `disk_reserve_bytes` free for the data directory, the node takes no more tasks.
    """

    cpu_milli: int | None = attrs.field(default=None, validator=_between(0, limits.CPU_MILLI_MAX))
    memory_bytes: Size | None = attrs.field(
        default=None, validator=_between(0, limits.RESOURCE_MAX_BYTES)
    )
    disk_bytes: Size | None = attrs.field(
        default=None, validator=_between(0, limits.RESOURCE_MAX_BYTES)
    )
    gpus: int | None = attrs.field(default=None, validator=_between(0, limits.GPUS_PER_NODE_MAX))
    gpu_uuids: tuple[str, ...] = ()
    disk_reserve_bytes: Size = attrs.field(
        default=Size(limits.DISK_RESERVE_BYTES), validator=_between(0, limits.RESOURCE_MAX_BYTES)
    )


@attrs.frozen(kw_only=True)
class RuntimeConfig:
    """`[runtime]`: how containers run. Tasks may mount `bind_directories` read-only, and no other
    directory of the host.

    `registries`: where images may come from; empty: anywhere. `gpus`: how containers get GPUs.
    `images_max_bytes`: when the images that the agent pulled take more, unused ones go.
    `disk_reserve_bytes` stay free on the engine's disk: no image is pulled into them.
    Checks run `probe_image` once; with GPUs it needs nvidia-smi's C library.
    `ended_keep_s`: how long ended containers are kept, for their log lines.
    """

    kind: str = attrs.field(default="auto", validator=_one_of("auto", "docker", "process"))
    docker_host: str = ""
    bind_directories: tuple[Path, ...] = ()
    registries: tuple[str, ...] = ()
    probe_image: str = ""
    ended_keep_s: int = attrs.field(
        default=limits.ENDED_KEEP_DEFAULT_S, validator=_between(0, limits.TASK_TIME_MAX_S)
    )
    gpus: str = attrs.field(default="auto", validator=_one_of("auto", "toolkit", "cdi"))
    images_max_bytes: Size | None = attrs.field(
        default=None, validator=_between(0, limits.RESOURCE_MAX_BYTES)
    )
    disk_reserve_bytes: Size = attrs.field(
        default=Size(limits.DISK_RESERVE_DEFAULT_BYTES),
        validator=_between(0, limits.RESOURCE_MAX_BYTES),
    )


@attrs.frozen(kw_only=True)
class VolumesConfig:
    """`[volumes]`: which volumes of ended tasks are kept: those of how many tasks, and for how
    long. A task may ask for less. Pool volumes stay until somebody removes them.
    """

    keep_tasks: int = attrs.field(default=20, validator=_between(0, 100_000))
    keep_for_s: int = attrs.field(
        default=7 * 24 * 3600, validator=_between(0, limits.VOLUME_KEEP_MAX_S)
    )


@attrs.frozen(kw_only=True)
class LogConfig:
    """`[log]`: level, levels by module, and pretty, json or auto (pretty on a terminal)."""

    level: str = attrs.field(default="info", validator=_one_of(*LEVELS))
    levels: Mapping[str, str] = attrs.field(factory=dict, validator=_known_levels)
    format: str = attrs.field(default="auto", validator=_one_of("auto", "pretty", "json"))


@attrs.frozen(kw_only=True)
class MetricsConfig:
    """`[metrics]`: whether `/metrics` answers, and how often the machine is sampled."""

    enabled: bool = True
    sample_interval_ms: int = attrs.field(default=5_000, validator=_between(500, 3_600_000))


@attrs.frozen(kw_only=True)
class AgentConfig:
    """The whole configuration. Only `[chain]` and `[pool]` are required."""

    chain: ChainConfig
    pool: PoolConfig
    network: NetworkConfig = NetworkConfig()
    api: ApiConfig = ApiConfig()
    resources: ResourcesConfig = ResourcesConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    volumes: VolumesConfig = VolumesConfig()
    log: LogConfig = attrs.field(factory=LogConfig)
    metrics: MetricsConfig = MetricsConfig()

    @property
    def pool_ref(self) -> PoolRef:
        """The pool to which data directory, envelopes and bindings are bound."""
        return PoolRef(self.chain.id, self.chain.addresses.pool, self.pool.id)


def default_directory(environ: Mapping[str, str] | None = None) -> Path:
    """The agent's data directory: P2POOL_DATA_DIR, else the platform's place for user data."""
    env = os.environ if environ is None else environ
    if env.get("P2POOL_DATA_DIR"):
        return Path(env["P2POOL_DATA_DIR"])
    found = Path(platformdirs.user_data_dir("p2pool", appauthor=False))
    if not found.is_absolute():  # Without a home it would be a directory named ~, right here.
        raise Misconfigured(
            "This user has no home directory to keep data in.",
            hint="Set HOME, or name a directory: --data-dir, P2POOL_DATA_DIR.",
        )
    return found


def load_config(path: Path, env: Mapping[str, str] | None = None) -> AgentConfig:
    """Read a file, with the environment's overrides (default: os.environ).

    Raises Misconfigured with every problem, one per line, each at its place (`chain.id`).
    """
    return _structured(path, _tables(path), env)


def load_chain(path: Path, env: Mapping[str, str] | None = None) -> ChainConfig:
    """As `load_config`, before there is a pool: `[pool]` may be missing from the file.

    Without a file, the environment alone can set `P2POOL_CHAIN__ID` and the others.
    """
    environ = os.environ if env is None else env
    alone = not path.exists() and any(name.startswith(f"{PREFIX}CHAIN__") for name in environ)
    tables = {} if alone else _tables(path)
    tables.setdefault("pool", {"id": 0})
    return _structured(path, tables, environ).chain


def _tables(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(limits.CONFIG_MAX_BYTES + 1)
    except OSError as error:
        raise Misconfigured(
            f"The configuration {path} cannot be read: {error.strerror}.",
            hint="Name another with --config.",
        ) from error
    if len(data) > limits.CONFIG_MAX_BYTES:
        raise Misconfigured(f"The configuration {path} is over {limits.CONFIG_MAX_BYTES} bytes.")
    try:
        return tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise Misconfigured(f"The configuration {path} is not TOML: {error}.") from error


def _structured(path: Path, tables: dict[str, Any], env: Mapping[str, str] | None) -> AgentConfig:
    config, problems = read_section_tables(
        AgentConfig, tables, os.environ if env is None else env, PREFIX
    )
    if config is None:
        raise Misconfigured(
            f"The configuration {path} has {len(problems)} problem(s):\n  "
            + "\n  ".join(problems)
            + "\n"
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
