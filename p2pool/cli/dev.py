"""`p2pool dev`: a whole pool on this machine, to play with or to be shown."""

import json
from pathlib import Path
from typing import Any

import click

from p2pool.cli.reach import json_option
from p2pool.cli.show import write_json, write_pairs

dir_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="P2POOL_DEV_DIR",
    metavar="DIR",
    help="Where the pool is kept. Default: P2POOL_DEV_DIR, else this user's own.",
)


@click.group(name="dev", help="A whole pool on this machine, on a development chain.")
def dev() -> None:
    """The group."""


def _directory(given: Path | None) -> Path:
    import platformdirs

    return (given or platformdirs.user_data_path("p2pool-dev")).expanduser().absolute()


def _say(text: str) -> None:
    click.echo(text, err=True)


@dev.command("up")
@dir_option
@click.option("--nodes", type=click.IntRange(1, 16), default=3, show_default=True)
@json_option
def up(directory: Path | None, nodes: int, as_json: bool) -> None:
    """Start a chain, the contracts, a bootstrap node and agents, all real and all here.

    It runs on in the background until `p2pool dev down`.
    """
    import trio

    from p2pool.dev.pool import DevPool
    from p2pool.model.errors import P2poolError

    pool = DevPool(_directory(directory), _say)

    async def start() -> None:
        try:
            await pool.up(nodes)
            await pool.wait_heartbeats()
            await pool.wait_elected(pool.agents)
        except (P2poolError, BaseExceptionGroup, KeyboardInterrupt):
            if pool.children:
                _say(f"it did not come up; {pool.where_logs} End it with: p2pool dev down")
            raise

    trio.run(start)
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
        write_json(told)
        return
    write_pairs([(name, json.dumps(v) if isinstance(v, list) else str(v))
                 for name, v in told.items()])  # fmt: skip
    click.echo(
        f"\nTry:\n"
        f"  export P2POOL_AGENT={pool.agents[0].directory}\n"
        f"  export P2POOL_KEY={keys / 'manager.json'}\n"
        f"  export P2POOL_PASSPHRASE_FILE={keys / 'passphrase'}\n"
        f"  p2pool node ls\n"
        f"  p2pool task run --name hello --image {pool.image.name}"
        f" -- sh -c 'echo hello; sleep 60'\n"
        f"  p2pool task logs hello\n"
        f"  p2pool dev down"
    )


@dev.command("down")
@dir_option
@json_option
def down(directory: Path | None, as_json: bool) -> None:
    """End the pool that `dev up` started, and remove all of it."""
    import trio

    from p2pool.dev.pool import DevPool

    pool = DevPool.load(_directory(directory), _say)
    trio.run(pool.down)
    if as_json:
        write_json({"directory": str(pool.directory), "removed": True})
    else:
        click.echo(f"The pool in {pool.directory} is gone.")


@dev.command("demo")
@dir_option
@click.option("--nodes", type=click.IntRange(3, 16), default=3, show_default=True)
@click.option("--keep", is_flag=True, help="Keep the directory with all logs afterwards.")
@json_option
def demo(directory: Path | None, nodes: int, keep: bool, as_json: bool) -> None:
    """Show it all: a pool, a task, its logs, the master's death, the next master. 30 seconds."""
    import trio

    from p2pool.dev.demo import Demo

    told = trio.run(Demo(directory, nodes, keep, quiet=as_json).run)
    if as_json:
        write_json(told)
