"""`p2pool dev`: runs a whole pool on this machine, to play with or to watch."""

import json
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from p2pool.cli.shared.options import json_option
from p2pool.cli.shared.output import write_json
from p2pool.cli.shared.process import run_unless_interrupted
from p2pool.cli.shared.tables import write_pairs
from p2pool.cli.shared.types import FilePath, Number

if TYPE_CHECKING:
    from p2pool.dev.pool import DevPool

dir_option = click.option(
    "--dir",
    "directory",
    type=FilePath(file_okay=False),
    envvar="P2POOL_DEV_DIR",
    metavar="DIR",
    help="Directory of the pool. Default: P2POOL_DEV_DIR, else one of this user's own.",
)


@click.group(name="dev", help="Run a whole pool on this machine, on a development chain.")
def dev() -> None:
    """The group."""


def _directory(given: Path | None) -> Path:
    from p2pool.dev.places import user_pool

    # The directory itself, not a link to it: its processes are found by it, and it is removed.
    return given.resolve() if given is not None else user_pool()


@dev.command("up")
@dir_option
@click.option("--nodes", type=Number(1, 16), default=3, show_default=True, help="How many agents.")
@click.option("--keep", is_flag=True, help="If it fails, keep what runs, for you to look at.")
@json_option
def up(directory: Path | None, nodes: int, keep: bool, as_json: bool) -> None:
    """Start a chain, the contracts, a bootstrap node and agents, all real and all on this machine.

    The pool runs in the background until `p2pool dev down`. If the start fails or you interrupt it,
    it leaves nothing behind; after a failure, only its logs.
    """
    from contextlib import nullcontext

    from p2pool.dev.state import look

    where = _directory(directory)
    look(where)  # Before loading the rest, which takes seconds.

    from p2pool.dev.end import ended
    from p2pool.dev.narrator import Narrator
    from p2pool.dev.pool import DevPool

    narrator = Narrator(quiet=as_json)
    pool = DevPool(where, narrator)

    async def start() -> None:
        with narrator.waiting():
            async with nullcontext() if keep else ended(pool, narrator, in_any_case=False):
                await pool.up(nodes)
                await pool.wait_heartbeats()
                await pool.wait_elected(pool.agents)

    run_unless_interrupted(start)
    _tell_pool(pool, directory, as_json)


def _tell_pool(pool: "DevPool", directory: Path | None, as_json: bool) -> None:
    """Say what runs now, and what to try with it."""
    keys = pool.directory / "keys"
    told: dict[str, Any] = {
        "directory": str(pool.directory),
        "rpc": pool.rpc_url,
        "pool_id": pool.pool_id,
        "runtime": pool.runtime,
        "image": pool.image.name,
        "manager_key": str(keys / "manager.json"),
        "passphrase_file": str(keys / "passphrase"),
        "agents": [str(agent.directory) for agent in pool.agents],
    }
    if as_json:
        write_json("dev-pool", told)
        return
    write_pairs(
        (name, json.dumps(value) if isinstance(value, list) else str(value))
        for name, value in told.items()
    )
    where = f" --dir {quote(str(pool.directory))}" if directory is not None else ""
    click.echo(
        f"\nTry:\n"
        f"  export P2POOL_AGENT={quote(str(pool.agents[0].directory))}\n"
        f"  export P2POOL_KEY={quote(str(keys / 'manager.json'))}\n"
        f"  export P2POOL_PASSPHRASE_FILE={quote(str(keys / 'passphrase'))}\n"
        f"  p2pool node ls\n"
        f"  p2pool task run --name hello --image {pool.image.name}"
        f" -- sh -c 'echo hello; sleep 60'\n"
        f"  p2pool task logs hello\n"
        f"  p2pool dev down{where}"
    )


@dev.command("down")
@dir_option
@json_option
def down(directory: Path | None, as_json: bool) -> None:
    """End the pool that `dev up` started, and remove everything of it."""
    from p2pool.dev.state import require

    where = _directory(directory)
    require(where)

    from p2pool.dev.narrator import Narrator
    from p2pool.dev.pool import DevPool

    narrator = Narrator(quiet=as_json)
    pool = DevPool.load(where, narrator)

    async def end() -> None:
        with narrator.waiting():
            await pool.down()

    run_unless_interrupted(end)
    if as_json:
        write_json("dev-pool", {"directory": str(pool.directory), "removed": True})
    else:
        click.echo(f"The pool in {pool.directory} is gone.")


@dev.command("demo")
@dir_option
@click.option("--nodes", type=Number(3, 16), default=3, show_default=True, help="How many agents.")
@click.option("--keep", is_flag=True, help="Keep all logs afterwards.")
@json_option
def demo(directory: Path | None, nodes: int, keep: bool, as_json: bool) -> None:
    """Show a pool, a task, its logs, the master's death and the next master, in 30 seconds."""
    from p2pool.dev.demo import Demo
    from p2pool.dev.narrator import Narrator

    where = directory.resolve() if directory is not None else None
    told = run_unless_interrupted(Demo(where, nodes, keep, Narrator(quiet=as_json)).run)
    if as_json:
        write_json("dev-pool", told)
