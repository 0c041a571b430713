"""What commands that talk to the chain share: the configuration, the contracts, who signs.

The chain is the one of `[chain]` in the agent's configuration (`--config`, else `P2POOL_CONFIG`,
else the file in the data directory). With `--dry-run` no passphrase is asked for: the account's
address is written in its key file, and nothing is signed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from p2pool.cli.shared.signing import account_of
from p2pool.cli.shared.types import UINT256
from p2pool.model.errors import Misconfigured

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.writer import DryWriter, KeyWriter
    from p2pool.drivers.config.schema import ChainConfig

F = TypeVar("F", bound=Callable[..., Any])

CONFIG_VARIABLE = "P2POOL_CONFIG"

dry_send_option = click.option(
    "--dry-run", is_flag=True, help="Say which transactions would be sent, and send none."
)


def config_option(command: F) -> F:
    """`--config`."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        envvar=CONFIG_VARIABLE,
        metavar="FILE",
        help="The configuration with [chain]. Default: P2POOL_CONFIG, else config.toml in the"
        " agent's data directory.",
    )(command)


def config_path(given: Path | None) -> Path:
    """The configuration that is meant."""
    from p2pool.drivers.config.schema import CONFIG_NAME, default_directory

    return given.expanduser() if given else default_directory() / CONFIG_NAME


def open_chain(config: "ChainConfig") -> "PoolContracts":
    """The contracts; nothing is asked of an endpoint yet. Call it inside trio."""
    from p2pool.drivers.chain.addresses import Addresses
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.rpc import Rpc

    at = config.addresses
    addresses = Addresses(
        network=at.network,
        pool=at.pool,
        registry=at.registry,
        stakes=at.stake,
        domains=at.domains,
        token=at.token,
    )
    return PoolContracts(Rpc.to(config.id, config.endpoints), addresses)


def writer_maker(
    key: str | None, passphrase_file: str | None, dry_run: bool
) -> "Callable[[PoolContracts], KeyWriter | DryWriter]":
    """Opens the key now, so that a passphrase is asked for before anything waits on the chain."""
    from p2pool.drivers.chain.writer import DryWriter, KeyWriter

    if dry_run:
        from p2pool.drivers.keys.keystore import key_file_address

        if not key:
            raise Misconfigured("Whose transactions? No key is given.", hint="--key FILE")
        address = key_file_address(Path(key).expanduser())
        return lambda _: DryWriter(address)
    account = account_of(key, passphrase_file)
    return lambda chain: KeyWriter(chain.rpc, account)


def pool_number(path: Path, given: int | None) -> int:
    """The pool that is meant: the one given, else that of the configuration."""
    from p2pool.drivers.config.schema import load_config

    return load_config(path).pool.id if given is None else given


pool_option = click.option(
    "--pool",
    "pool_id",
    type=click.IntRange(0, UINT256),
    help="Default: [pool] id of the configuration.",
)
