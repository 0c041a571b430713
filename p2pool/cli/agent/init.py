"""`p2pool agent init`: a configuration and keys for this machine, step by step, checked.

Intuition: whoever joins a pool knows its number or its URL, and has a machine. All else has a
default, can be read from the chain, or is made here. Nothing is written before everything was
answered and checked, so who stops midway has changed nothing.

Invariants: every question has a flag; no file is overwritten, and a key that is there stays the
node's; the configuration is written last, whole, so that a directory has it only together with its
keys.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from p2pool.cli.agent.setup.keys import (
    KeyChoice,
    check_flags,
    choose_node_key,
    choose_provider_key,
)
from p2pool.cli.agent.setup.pool_choice import CONTRACTS, OTHER, choose_pool
from p2pool.cli.agent.setup.questions import Questions
from p2pool.cli.errors import FAILED
from p2pool.cli.shared.options import json_option
from p2pool.cli.shared.output import write_json, write_line
from p2pool.cli.shared.process import data_directory, directory_option
from p2pool.cli.shared.tables import write_pairs
from p2pool.cli.shared.types import AddressType, FilePath, KeyPlaceType, Number
from p2pool.codec.json.hex import address_text
from p2pool.codec.text.multiaddr import listening
from p2pool.drivers.config.chain_presets import PRESETS
from p2pool.model.data_dir import NODE_KEY_FILE
from p2pool.model.errors import BadKey, Conflict, Misconfigured

if TYPE_CHECKING:
    from p2pool.drivers.config.schema import AgentConfig
    from p2pool.model.machine.checks import Check

PROVIDER_KEY_FILE = "provider.json"
_LISTEN = "/ip4/0.0.0.0/tcp/4001"
_HELP = {
    "network": "PrimeNetwork, which names the other contracts",
    "pool": "ComputePool",
    "registry": "ComputeRegistry",
    "stake": "StakeManager",
    "domains": "DomainRegistry",
    "token": "AIToken",
}


@attrs.frozen(kw_only=True)
class Plan:
    """What is going to be written: the configuration as text, and as it reads; the keys."""

    directory: Path
    text: str
    settings: "AgentConfig"
    node: KeyChoice
    provider: KeyChoice | None

    @property
    def config(self) -> Path:
        """The file of the configuration."""
        from p2pool.drivers.config.schema import CONFIG_NAME

        return self.directory / CONFIG_NAME

    def commands(self, passphrase_file: Path | None) -> list[str]:
        """The three next commands."""
        words = ["p2pool", "agent", "run", "--data-dir", str(self.directory)]
        if self.node.file is None:
            words += ["--node-key", str(self.node.place)]
        if self.provider is not None:
            words += ["--provider-key", str(self.provider.place)]
        if passphrase_file is not None:
            words += ["--passphrase-file", str(passphrase_file)]
        check = ["p2pool", "agent", "check", "--data-dir", str(self.directory)]
        status = ["p2pool", "agent", "status", "--agent", str(self.directory)]
        import shlex

        return [shlex.join(command) for command in (check, words, status)]


def _pool_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which chain and which pool."""
    for name in reversed(CONTRACTS):
        command = click.option(
            f"--{name}-contract", type=AddressType(), metavar="ADDRESS", help=f"{_HELP[name]}."
        )(command)
    options = (
        click.option("--pool", metavar="NUMBER|URL|FILE", help="The pool: its number, or the URL or"
                     " file of the pool.toml that its owner published."),
        click.option("--chain", type=click.Choice([*PRESETS, OTHER]), help="A chain by its name."),
        click.option("--chain-id", type=Number(1, 2**63 - 1), help="A chain by its id."),
        click.option("--endpoint", multiple=True, metavar="URL", help="An RPC endpoint, the"
                     " preferred one first. Repeatable. Default: public ones of --chain."),
        click.option("--confirmations", type=Number(0, 1000), help="How many blocks deep a join"
                     " counts."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _key_options(command: Callable[..., None]) -> Callable[..., None]:
    """The two keys: each named where it is, imported, or made."""
    for what, default in (("provider", "none here"), ("node", "a new one")):
        command = click.option(
            f"--{what}-account",
            type=AddressType(),
            metavar="ADDRESS",
            help=f"Which of several accounts in --import-{what}-key.",
        )(command)
        command = click.option(
            f"--import-{what}-key",
            type=FilePath(dir_okay=False),
            metavar="FILE",
            help="Take it from another wallet's file: a keystore of geth or foundry, a private key"
            " in hex or a vault of MetaMask.",
        )(command)
        command = click.option(
            f"--{what}-key",
            type=KeyPlaceType(),
            metavar="KEY",
            help=f"The {what}'s key where it is: a key file, fd:N or clef:PATH. Default:"
            f" {default}.",
        )(command)
    command = click.option(
        "--new-provider-key", is_flag=True, help=f"Make one: {PROVIDER_KEY_FILE} in the directory."
    )(command)
    command = click.option(
        "--import-passphrase-file",
        type=FilePath(dir_okay=False),
        metavar="FILE",
        help="File with the passphrase of what is imported. Default: as for --passphrase-file.",
    )(command)
    command = click.option(
        "--light", is_flag=True, help="Encrypt fast and weakly, for development chains only."
    )(command)
    return click.option(
        "--passphrase-file",
        type=FilePath(dir_okay=False),
        metavar="FILE",
        help="File with the passphrase of the keys that are written. Default:"
        " P2POOL_PASSPHRASE_FILE, then P2POOL_PASSPHRASE, then a prompt.",
    )(command)


@click.command("init")
@directory_option
@_pool_options
@_key_options
@click.option("--listen", multiple=True, metavar="MULTIADDR", help=f"Default: {_LISTEN}.")
@click.option("--announce", multiple=True, metavar="MULTIADDR", help="Where others reach it.")
@click.option("--bootstrap", multiple=True, metavar="MULTIADDR", help="A peer to dial first.")
@click.option("--api-bind", metavar="HOST:PORT", help="Where the API listens.")
@click.option(
    "--runtime", type=click.Choice(("auto", "docker", "process")), help="What runs tasks."
)
@click.option("--yes", is_flag=True, help="Ask nothing: what has a default gets it.")
@click.option("--no-check", is_flag=True, help="Ask the chain nothing about the pool.")
@click.option("--dry-run", is_flag=True, help="Show the configuration, and write nothing.")
@json_option
@click.pass_context
def init(
    context: click.Context,
    /,
    data_dir: Path | None,
    passphrase_file: Path | None,
    light: bool,
    yes: bool,
    no_check: bool,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Write this machine's configuration and keys, step by step, and check what was written.

    \b
      p2pool agent init --pool https://pool.example/pool.toml
      p2pool agent init --pool 7 --chain base --network-contract 0x...
    """
    directory = data_directory(data_dir)
    asks = Questions.of(yes or as_json)
    plan = _plan(asks, directory, given)
    checks = [] if no_check else _checked(plan.settings)
    failed = any(one.verdict.name == "FAIL" for one in checks)
    if not (dry_run or failed):
        _write(plan, passphrase_file, light=light)
    _tell(plan, checks, passphrase_file, written=not (dry_run or failed), as_json=as_json)
    if failed:
        context.exit(FAILED)


def _plan(asks: Questions, directory: Path, given: dict[str, Any]) -> Plan:
    """All answers; nothing is written yet."""
    from p2pool.drivers.config.reader import toml_tables
    from p2pool.drivers.config.schema import CONFIG_NAME, read_config

    if (directory / CONFIG_NAME).exists():
        raise Conflict(
            f"{directory / CONFIG_NAME} is there already, and is not overwritten.",
            hint="Change it by hand, or name another directory: --data-dir DIR.",
        )
    check_flags(given)
    _check_addresses(given)
    tables = choose_pool(asks, given)
    tables["network"] = _network(asks, given, tables.get("network", {}))
    if given["api_bind"] is not None:
        tables["api"] = {"bind": given["api_bind"]}
    runtime = given["runtime"] or asks.choose(
        "--runtime", "What runs tasks", ("auto", "docker", "process"), "auto"
    )
    tables["runtime"] = {"kind": runtime}
    order = ("chain", "pool", "network", "api", "runtime")
    text = toml_tables({name: tables[name] for name in order if name in tables})
    settings = read_config(text, "The configuration that these answers make")
    node = choose_node_key(asks, given, directory / NODE_KEY_FILE)
    provider = choose_provider_key(asks, given, directory / PROVIDER_KEY_FILE)
    if provider is not None and provider.address is not None and provider.address == node.address:
        raise Conflict(
            "The node key and the provider key are the same key.",
            hint="Give each a key of its own.",
        )
    return Plan(directory=directory, text=text, settings=settings, node=node, provider=provider)


def _check_addresses(given: dict[str, Any]) -> None:
    """Wrong usage: where nothing can listen. The file would hold it, and no agent start with it."""
    for text in given["listen"]:
        try:
            _listen_address(text)
        except Misconfigured as error:
            raise click.UsageError(f"--listen: {error}") from error
    if given["api_bind"] is not None:
        from p2pool.agent.certificate_check import check_bind

        try:
            check_bind(given["api_bind"])
        except Misconfigured as error:
            raise click.UsageError(f"--api-bind: {error.message} Write 127.0.0.1:8470.") from error


def _listen_address(text: str) -> str:
    if listening(text.strip()) is None:
        raise Misconfigured(
            f"{text[:80]!r} is not an address to listen on.", hint=f"Write it as {_LISTEN}."
        )
    return text.strip()


def _listen_addresses(text: str) -> tuple[str, ...]:
    return tuple(_listen_address(one) for one in text.split(","))


def _network(asks: Questions, given: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    listen = given["listen"] or asks.ask(
        "--listen", "Where it listens for peers", _listen_addresses, _LISTEN
    )
    bootstrap = (*said.get("bootstrap", ()), *given["bootstrap"])
    return {
        "listen": tuple(one.strip() for one in listen),
        "announce": given["announce"],
        "bootstrap": tuple(dict.fromkeys(bootstrap)),
    }


def _checked(settings: "AgentConfig") -> "list[Check]":
    """What the chain says of the configuration: endpoints, and the pool."""
    import trio

    from p2pool.drivers.checks.onchain import chain_checks, read_pool

    async def look() -> "list[Check]":
        pool, _, trouble = await read_pool(settings)
        return [*trouble, *await chain_checks(settings, pool, None, None, 0)]

    return trio.run(look)


def _write(plan: Plan, passphrase_file: Path | None, *, light: bool) -> None:
    """The keys, then the configuration: all of it or, where somebody or the disk ends it midway,
    nothing, so that the same command may be run again."""
    from p2pool.drivers.keys import keystore
    from p2pool.drivers.store.datadir import prepare_directory

    made = [key for key in (plan.node, plan.provider) if key is not None and key.private_key]
    passphrases = [_passphrase(key, passphrase_file) for key in made]
    prepare_directory(plan.directory)
    written: list[Path] = []
    try:
        for key, passphrase in zip(made, passphrases, strict=True):
            assert key.file is not None
            assert key.private_key is not None
            keystore.import_key_file(key.file, key.private_key, passphrase, light=light)
            written.append(key.file)
        keystore.write_new(plan.config, plan.text.encode())
    except BaseException:
        for file in written:
            file.unlink(missing_ok=True)
        raise


def _passphrase(key: KeyChoice, passphrase_file: Path | None) -> str:
    from p2pool.drivers.keys import keystore

    assert key.file is not None
    what = f"the {key.what} key {key.file.name}"
    passphrase = keystore.read_passphrase(what, file=passphrase_file, confirm=True)
    if not passphrase:
        raise BadKey(f"The passphrase for {what} is empty.", hint="Choose one; it protects it.")
    return passphrase


def _tell(
    plan: Plan,
    checks: "list[Check]",
    passphrase_file: Path | None,
    *,
    written: bool,
    as_json: bool,
) -> None:
    commands = plan.commands(passphrase_file)
    if as_json:
        keys = {
            key.what: {
                "address": address_text(key.address) if key.address is not None else None,
                "place": str(key.place),
                "source": key.source,
            }
            for key in (plan.node, plan.provider)
            if key is not None
        }
        told = [
            {"name": c.name, "verdict": c.verdict.name.lower(), "found": c.found} for c in checks
        ]
        document = {"config": str(plan.config), "written": written, "text": plan.text}
        write_json("agent-init", {**document, "keys": keys, "checks": told, "next": commands})
        return
    from p2pool.cli.agent.check import write_checks

    if not written:
        click.echo(plan.text)
    if checks:
        write_checks(checks)
        click.echo()
    pairs = [("config", str(plan.config)), ("node", plan.node.shown)]
    pairs += [] if plan.provider is None else [("provider", plan.provider.shown)]
    write_pairs([*pairs, ("written", "yes" if written else "nothing")])
    if written:
        click.echo("\nnext:")
        for command in commands:
            write_line(f"  {command}")
