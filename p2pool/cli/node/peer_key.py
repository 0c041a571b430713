"""`p2pool node rotate-peer-key`: another key for the node's connections, with its agent stopped."""

import os
from pathlib import Path

import click

from p2pool.cli.shared.chain import config_option
from p2pool.cli.shared.options import json_option
from p2pool.cli.shared.output import write_json, write_line
from p2pool.cli.shared.process import data_directory, directory_option
from p2pool.codec.json.hex import address_text


@click.command("rotate-peer-key")
@directory_option
@config_option
@click.option(
    "--force",
    is_flag=True,
    help="Also where the committee has no majority without this node: the pool then stands still"
    " until it is recovered.",
)
@json_option
def rotate(data_dir: Path | None, config: Path | None, force: bool, as_json: bool) -> None:
    """Give the node of a data directory another peer key; its name and tasks stay. Stop its agent
    before.

    Its node key, and so its name, tasks, volumes and membership stay. Its secrets are sealed on to
    the new key. A seat on the committee is given up; the leader gives it one again.
    """
    from p2pool.agent.wire.peer_rotation import rotate as rotated
    from p2pool.codec.text.peer_id import peer_id
    from p2pool.drivers.config.schema import CONFIG_NAME, load_config
    from p2pool.drivers.config.start_record import read_start

    directory = data_directory(data_dir)
    last, environment = None if config is not None else read_start(directory), dict(os.environ)
    if last is not None:
        config, environment = Path(last.config), {**last.overrides, **environment}
    pool = load_config(config or directory / CONFIG_NAME, environment).pool_ref
    done = rotated(directory, pool, force=force)
    old, new = peer_id(done.old), peer_id(done.new)
    if as_json:
        told = {"node_id": address_text(done.node_id), "old": old, "new": new}
        write_json("peer-key", {**told, "secrets": done.secrets, "voters": done.voters})
        return
    write_line(f"{address_text(done.node_id)} had the peer {old}, and has {new} now.")
    if done.secrets:
        write_line(f"Sealed on to it: the secrets of {done.secrets} tasks.")
    if done.voters:
        write_line("It gave up its seat on the committee, and gets one again as any member does.")
    write_line(f"Start its agent: p2pool agent run --data-dir {directory}", err=True)
    write_line(
        f"Who dials it first by /p2p/{old}, as in [network] bootstrap or in the pool's data URI,"
        " has to name the new one.",
        err=True,
    )
