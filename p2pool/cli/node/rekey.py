"""`p2pool node rekey`: this machine becomes another node, with its volumes.

Intuition: a node's key is its name on the chain and in the log, so another key is another node. The
old one is drained and leaves; the new one registers and joins as any does, by its agent. Between
the two the data directory changes hands: keys and store are set aside, volumes stay.

Invariants: each step reads first, so the command can be run again from wherever it stopped; nothing
is set aside while the node is in the pool, while its agent runs, or while a copy of it does.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from p2pool.cli.shared.chain import ConfigFile, Sender, dry_send_option
from p2pool.cli.shared.options import agent_name_option, found_agent, json_option, key_options
from p2pool.cli.shared.output import write_dry, write_json, write_line
from p2pool.cli.shared.process import data_directory, directory_option
from p2pool.cli.shared.types import FilePath, Span
from p2pool.codec.json.hex import address_text
from p2pool.model.data_dir import NODE_KEY_FILE
from p2pool.model.errors import DataDirInUse, NotFound, P2poolError, Unavailable
from p2pool.model.ids import Address, NodeId

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.provider.plan_writer import DryRun
    from p2pool.drivers.chain.transactions.writer import Writer
    from p2pool.drivers.config.schema import AgentConfig
    from p2pool.drivers.config.start_record import StartRecord

NEXT_KEY_FILE = "node.json.next"


@attrs.frozen(kw_only=True)
class Old:
    """The node that this directory is, and how it was started."""

    directory: Path
    node_id: NodeId
    settings: "AgentConfig"
    start: "StartRecord"


@click.command("rekey")
@directory_option
@agent_name_option("The agent that drains the node; without one, that of the directory")
@click.option("--no-drain", is_flag=True, help="Leave at once: its copies start anew elsewhere.")
@click.option("--timeout", type=Span(), default="15m", show_default=True, help="For the drain.")
@click.option(
    "--new-passphrase-file",
    type=FilePath(dir_okay=False),
    metavar="FILE",
    help="File with the passphrase of the new node key. Default: P2POOL_PASSPHRASE_FILE, then"
    " P2POOL_PASSPHRASE, then a prompt.",
)
@click.option("--light", is_flag=True, help="Encrypt fast and weakly, for development chains only.")
@key_options
@dry_send_option
@json_option
def rekey(
    data_dir: Path | None,
    agent: str | None,
    no_drain: bool,
    timeout: int,
    new_passphrase_file: Path | None,
    light: bool,
    key: str | None,
    passphrase_file: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Give this machine another node key, as its provider: another node, with the same volumes.

    Drains the node and takes it out of the pool; then asks for its agent to be stopped, and run
    again it sets the old keys and store aside (former/NODE) and makes a new key. The next start of
    the agent registers and joins as the new node.
    """
    old = _old(data_directory(data_dir))
    sender = Sender(
        config=ConfigFile(Path(old.start.config), {**old.start.overrides, **os.environ}),
        key=key,
        passphrase_file=passphrase_file,
        dry_run=dry_run,
        as_json=as_json,
        agent=str(old.directory),
    )
    left = _in_pool(old)
    dry: DryRun | None = None
    if left:
        if not (no_drain or dry_run):
            _drain(old, sender, agent, timeout)
        _, dry = sender.run(lambda chain, writer: _leave(chain, writer, old))
    if dry_run:
        write_dry(dry, as_json)
        return
    told = {"former": address_text(old.node_id), "left": left, "node_id": None, "aside": None}
    try:
        node_id, aside = _become_another(old, new_passphrase_file, light=light)
    except DataDirInUse as error:
        raise DataDirInUse(
            f"The node {address_text(old.node_id)} is out of the pool, and its agent still runs.",
            hint="Stop the agent, then run the same command again.",
        ) from error
    told |= {"node_id": address_text(node_id), "aside": str(aside)}
    if as_json:
        write_json("node-rekey", told)
        return
    write_line(f"This machine was {told['former']}, and is {told['node_id']} now.")
    write_line(f"The old keys and store: {aside}. Volumes stay where they were.")
    write_line(f"next: {_next_start(old, key)}", err=True)
    write_line("It registers the new node, and waits to be validated and invited.", err=True)
    write_line(
        "The old node's stake stays bound until its provider takes it off the registry:"
        f" p2pool node deregister {told['former']}",
        err=True,
    )


def _next_start(old: Old, key: str | None) -> str:
    """The command that starts the new node: as the last start, which knows all it needs; where no
    provider's key is left to it, one that describes a start as a whole."""
    import shlex

    from p2pool.drivers.config.start_record import read_start
    from p2pool.drivers.keys.signers.place import is_there, key_place

    start = read_start(old.directory) or old.start
    words = ["p2pool", "agent", "run", "--data-dir", str(old.directory)]
    if not start.provider_key or not is_there(key_place(start.provider_key)):
        words += ["--config", start.config, "--provider-key", key or "FILE"]
        words += ["--passphrase-file", start.passphrase_file] if start.passphrase_file else []
    return shlex.join(words)


def _old(directory: Path) -> Old:
    from p2pool.drivers.config.schema import load_config
    from p2pool.drivers.config.start_record import read_start

    start = read_start(directory)
    if start is None:
        raise NotFound(
            f"No agent has run with its data in {directory}.",
            hint="Name the directory of the agent: --data-dir DIR.",
        )
    settings = load_config(Path(start.config), {**start.overrides, **os.environ})
    node_id = NodeId(bytes.fromhex(start.node_id.removeprefix("0x")))
    return Old(directory=directory, node_id=node_id, settings=settings, start=start)


def _in_pool(old: Old) -> bool:
    """Whether the chain has the node in its pool."""
    import trio

    from p2pool.drivers.chain.contracts import PoolContracts

    async def look() -> bool:
        chain = PoolContracts.of(old.settings.chain)
        return await chain.in_pool(old.settings.pool.id, old.node_id)

    return trio.run(look)


async def _leave(chain: "PoolContracts", writer: "Writer", old: Old) -> None:
    """Take the node out of the pool."""
    from p2pool.drivers.chain.provider.conduct import send_ready
    from p2pool.drivers.chain.provider.exit_plans import leave_plan
    from p2pool.drivers.chain.provider.reads import Reader

    number, reader = old.settings.pool.id, await Reader.at_head(chain)
    pool, nodes = await reader.pool(number), await reader.nodes(number, [old.node_id])
    plan = leave_plan(chain.at, pool, writer.address, nodes)
    await send_ready(plan, writer, lambda _: None)


def _drain(old: Old, sender: Sender, agent: str | None, timeout_s: int) -> None:
    """Have the node drained by its pool, and wait for it."""
    from p2pool.cli.node.intent import DRAIN, ask, wait_reached
    from p2pool.cli.shared.signer import Signer
    from p2pool.client.agent_client import AgentClient

    try:
        client = AgentClient.of(found_agent(agent or str(old.directory)))
        signer = Signer(
            client=client,
            key=sender.key,
            passphrase_file=sender.passphrase_file,
            dry_run=False,
            as_json=True,  # What it answers is no document of this command.
        )
        one = client.node(address_text(old.node_id))["node"]
        ask(signer, DRAIN, one)
        wait_reached(client, DRAIN, one["node_id"], timeout_s)
    except Unavailable as error:
        raise Unavailable(
            f"The node is not drained: {error.message}",
            hint="Start its agent, or leave at once: --no-drain.",
        ) from error


def _become_another(old: Old, passphrase_file: Path | None, *, light: bool) -> tuple[NodeId, Path]:
    """Set the old node aside and make the new one's key. Raises `DataDirInUse` while its agent
    runs."""
    import trio

    from p2pool.agent.containers.former_copies import remove_former_copies
    from p2pool.drivers.config.start_record import write_start
    from p2pool.drivers.keys import keystore
    from p2pool.drivers.store.datadir import DataDirLock
    from p2pool.drivers.store.former_node import set_aside

    directory, made = old.directory, old.directory / NEXT_KEY_FILE
    with DataDirLock(directory):
        trio.run(remove_former_copies, old.settings, directory, old.node_id)
        if not made.exists():
            passphrase = keystore.read_passphrase(
                "the new node key", file=passphrase_file, confirm=True
            )
            keystore.import_key_file(made, os.urandom(32), passphrase, light=light)
        address: Address = keystore.key_file_address(made)
        aside = set_aside(directory, old.node_id)
        made.replace(directory / NODE_KEY_FILE)
        secret = str(passphrase_file) if passphrase_file else old.start.passphrase_file
        record = attrs.evolve(
            old.start,
            node_id=address_text(address),
            node_key=str(directory / NODE_KEY_FILE),
            passphrase_file=secret,
        )
        try:
            write_start(directory, record)
        except OSError as error:
            raise P2poolError(
                f"The record of the start cannot be written: {error.strerror}.",
                hint=f"Start the agent with its options: --config {old.start.config}.",
            ) from error
    return NodeId(address), aside
