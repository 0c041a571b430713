"""What commands that talk to the chain share: the configuration, the contracts, the signer.

The chain is the one of `[chain]` in the agent's configuration (`--config`, else `P2POOL_CONFIG`,
else what the agent's data directory names or holds). `--dry-run` needs no passphrase: the key file
states the account's address, and nothing is signed.
"""

import functools
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from p2pool.cli.errors import say
from p2pool.cli.shared.options import found_agent, json_option, key_options
from p2pool.cli.shared.output import warn, write_dry, write_json
from p2pool.cli.shared.signer import opened_account, place_of
from p2pool.cli.shared.types import UINT256, FilePath, Number
from p2pool.client.agent_client import AgentClient
from p2pool.client.discovery import agent_directory
from p2pool.codec.json.hex import address_text
from p2pool.codec.text.amounts import GWEI
from p2pool.model.errors import Misconfigured, TransactionStuck
from p2pool.model.ids import Address, PoolRef

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.provider.costs import Payer
    from p2pool.drivers.chain.provider.plan_writer import DryRun, PlanWriter
    from p2pool.drivers.chain.transactions.record import Delay
    from p2pool.drivers.chain.transactions.writer import KeyWriter, Sent, Writer
    from p2pool.drivers.config.schema import ChainConfig

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

CONFIG_VARIABLE = "P2POOL_CONFIG"

dry_send_option = click.option(
    "--dry-run", is_flag=True, help="Show the transactions that would be sent, and send none."
)


def config_option(command: F) -> F:
    """`--config`."""
    return click.option(
        "--config",
        type=FilePath(),
        envvar=CONFIG_VARIABLE,
        metavar="FILE",
        help="The configuration with [chain]. Default: P2POOL_CONFIG, else the one that the agent"
        " last started with, else config.toml in its data directory.",
    )(command)


@attrs.frozen
class ConfigFile:
    """A configuration to read, and the variables that override it."""

    path: Path
    environment: Mapping[str, str]


def config_file(given: Path | None, agent: str | None) -> ConfigFile:
    """The given configuration, else that of the agent which the command means (`--agent`, else
    P2POOL_AGENT, else this user's own)."""
    if given is not None:
        return ConfigFile(given, os.environ)
    from p2pool.drivers.config.schema import CONFIG_NAME
    from p2pool.drivers.config.start_record import read_start

    directory = agent_directory(agent, os.environ)
    last = read_start(directory)
    if last is None:
        return ConfigFile(directory / CONFIG_NAME, os.environ)
    return ConfigFile(Path(last.config), {**last.overrides, **os.environ})


def writer_maker(
    key: str | None, passphrase_file: str | None, dry_run: bool, config: "ChainConfig"
) -> "Callable[[PoolContracts, Path], KeyWriter | PlanWriter]":
    """Open the key now, so that the passphrase prompt comes before any wait for the chain. What it
    makes keeps what it sends in a directory, and tells on standard error what takes long."""
    from p2pool.drivers.chain.provider.plan_writer import PlanWriter
    from p2pool.drivers.chain.transactions.journal import FileJournal
    from p2pool.drivers.chain.transactions.writer import KeyWriter

    if dry_run:
        from p2pool.drivers.keys.signers.opener import key_address

        if not key:
            raise Misconfigured(
                "No key is given, so the sender is unknown.",
                hint="Name the key file of the account that sends: --key FILE or P2POOL_KEY.",
            )
        address = key_address(place_of(key))
        return lambda chain, directory: PlanWriter(address)
    account = opened_account(key, passphrase_file)

    def make(chain: "PoolContracts", directory: Path) -> KeyWriter:
        sender = Address(bytes.fromhex(account.address[2:]))
        return KeyWriter(
            chain.rpc,
            account,
            journal=FileJournal.of(directory, config.id, sender),
            fee_max_wei=config.fee_max_gwei * GWEI,
            tell=DelayLines(),
        )

    return make


@attrs.define
class DelayLines:
    """Whoever waits at a terminal sees why: a line for each reason and each new offer."""

    last: object = None

    def __call__(self, delay: "Delay | None") -> None:
        """As a writer's `tell`."""
        if delay is None:
            return
        reason = (delay.behind, delay.at_cap, delay.cannot_pay, len(delay.pending.attempts))
        if reason != self.last:
            self.last = reason
            say(delay.text())


async def bring_home(chain: "PoolContracts", writer: "KeyWriter", payer: "Payer") -> None:
    """Name what an account has on its way from before, and get it into a block."""
    from p2pool.drivers.chain.transactions.earlier import read_earlier

    earlier = await read_earlier(chain.rpc, payer.journal)
    if earlier is None:
        return
    warn(f"{earlier.told()}, is in no block yet and comes first.")
    try:
        await writer.settle()
    except TransactionStuck as stuck:
        raise TransactionStuck(
            f"Nothing else was sent: an earlier one of this account comes first. {stuck.message}",
            hint="Do it again: the same command, or the agent by itself, goes on with that one.",
        ) from stuck


pool_option = click.option(
    "--pool",
    "pool_id",
    type=Number(0, UINT256),
    help="Default: [pool] id of the configuration.",
)


@attrs.frozen
class Sender:
    """Whose transactions a command sends, to which chain, and how it reports them.

    `chain_config` and `pool` read the configuration; `run` opens the key before it asks the chain
    anything.
    """

    config: ConfigFile
    key: str | None
    passphrase_file: str | None
    dry_run: bool
    as_json: bool
    agent: str | None = None

    @property
    def directory(self) -> Path:
        """Where what is sent is kept until a block has it: the data directory of the agent that is
        meant, so that both know of each other's."""
        return agent_directory(self.agent, os.environ)

    @functools.cached_property
    def chain_config(self) -> "ChainConfig":
        """`[chain]` of the configuration."""
        from p2pool.drivers.config.schema import load_chain

        return load_chain(self.config.path, self.config.environment)

    def pool(self, given: int | None) -> PoolRef:
        """The given pool, else the configuration's."""
        from p2pool.drivers.config.schema import load_config

        chain = self.chain_config
        if given is None:
            given = load_config(self.config.path, self.config.environment).pool.id
        return PoolRef(chain.id, chain.addresses.pool, given)

    def payer(self, account: Address) -> "Payer":
        """By what an account of this command pays."""
        from p2pool.drivers.chain.provider.costs import Payer
        from p2pool.drivers.chain.transactions.journal import FileJournal

        config = self.chain_config
        journal = FileJournal.of(self.directory, config.id, account)
        return Payer(config.fee_max_gwei * GWEI, journal)

    def run(
        self, act: "Callable[[PoolContracts, Writer], Awaitable[T]]"
    ) -> "tuple[T, DryRun | None]":
        """The result, and what a dry run would have sent (else None). What an earlier command left
        on its way is named and brought home first, so that `act` reads the chain with it."""
        import trio

        from p2pool.drivers.agent_log import configure_logs
        from p2pool.drivers.chain.contracts import PoolContracts
        from p2pool.drivers.chain.provider.plan_writer import PlanWriter, dry_run_of

        configure_logs(level="warning")  # On standard error: documents stand on standard output.
        config = self.chain_config
        make_writer = writer_maker(self.key, self.passphrase_file, self.dry_run, config)

        async def main() -> "tuple[T, DryRun | None]":
            chain = PoolContracts.of(config)
            writer = make_writer(chain, self.directory)
            payer = self.payer(writer.address)
            if not isinstance(writer, PlanWriter):
                await bring_home(chain, writer, payer)
                return await act(chain, writer), None
            done = await act(chain, writer)
            return done, await dry_run_of(chain, writer, payer)

        return trio.run(main)

    def send(
        self,
        act: "Callable[[PoolContracts, Writer], Awaitable[Sent]]",
        told: dict[str, Any],
        sentence: str,
    ) -> None:
        """Send one transaction and report it: `sentence` with its hash, or `told` as JSON."""
        sent, dry = self.run(act)
        if self.dry_run:
            write_dry(dry, self.as_json)
        elif self.as_json:
            told = {"dry_run": False, **told, "transaction": sent.transaction_hash}
            write_json("transaction", told)
        else:
            click.echo(f"{sentence} by transaction {sent.transaction_hash}.")


def sender_options(command: Callable[..., None]) -> Callable[..., None]:
    """`--key`, `--passphrase-file`, `--config`, `--dry-run` and `--json`, given together as one
    `Sender`."""

    @functools.wraps(command)
    def with_sender(
        *,
        key: str | None,
        passphrase_file: str | None,
        config: Path | None,
        dry_run: bool,
        as_json: bool,
        **given: Any,
    ) -> None:
        sender = Sender(
            config=config_file(config, given.get("agent")),
            key=key,
            passphrase_file=passphrase_file,
            dry_run=dry_run,
            as_json=as_json,
            agent=given.get("agent"),
        )
        command(sender=sender, **given)

    return key_options(config_option(dry_send_option(json_option(with_sender))))


def client_in(pool: PoolRef, agent: str | None, hint: str) -> AgentClient:
    """A client of an agent in this pool; `Misconfigured` with this hint for another pool's."""
    client = AgentClient.of(found_agent(agent))
    theirs = client.pool_ref()
    if theirs != pool:
        raise Misconfigured(
            f"The agent at {client.url} is in pool {theirs.pool_id} of"
            f" {address_text(theirs.contract)} on"
            f" chain {theirs.chain_id}, not in pool {pool.pool_id} of"
            f" {address_text(pool.contract)} on"
            f" chain {pool.chain_id}.",
            hint=hint,
        )
    return client
