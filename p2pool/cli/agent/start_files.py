"""What `agent run` and `agent check` begin with: the options given, else those of the last start.

Intuition: options describe a start as a whole. Whoever names a file describes a new one; whoever
names none means the last one, which the data directory remembers (`start.json`). So a provider's
key that somebody left out on purpose does not come back, and `agent run --data-dir D` is enough.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import click
from click.core import ParameterSource

from p2pool.drivers.config.schema import CONFIG_NAME, PREFIX
from p2pool.drivers.config.start_record import StartRecord, read_start, whole
from p2pool.drivers.keys.keystore import (
    PASSPHRASE_FILE_VARIABLE,
    PASSPHRASE_VARIABLE,
    PEER_SEED_NAME,
)
from p2pool.drivers.keys.signers.place import (
    ExternalSigner,
    KeyFile,
    KeyPlace,
    is_there,
    key_place,
    remembered,
)
from p2pool.model.data_dir import NODE_KEY_FILE
from p2pool.model.errors import BadKey, Misconfigured

_NAMES = (
    *("config", "node_key", "passphrase_file"),
    *("provider_key", "provider_passphrase_file"),
)
"""Options that describe a start."""
_FLAGS = ("stop_tasks", "skip_checks", "stake_top_up")
_KEYS = ("node_key", "provider_key")


@attrs.frozen(kw_only=True)
class StartFiles:
    """The files of a start. `last`: the one before, if the directory remembers it."""

    directory: Path
    config: Path
    node_key: KeyPlace
    passphrase_file: Path | None = None
    provider_key: KeyPlace | None = None
    provider_passphrase_file: Path | None = None
    stop_tasks: bool = False
    skip_checks: bool = False
    stake_top_up: bool = False
    stake_max_wei: int | None = None
    overrides: Mapping[str, str] = {}
    last: StartRecord | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Where overrides of the configuration come from: today's, over those of the last start."""
        return {**self.overrides, **os.environ}

    def record(self, node_id: str) -> StartRecord:
        """This start, for the next one."""
        passphrase = self.passphrase_file
        named = os.environ.get(PASSPHRASE_FILE_VARIABLE)
        if passphrase is None and named and not isinstance(self.node_key, ExternalSigner):
            passphrase = Path(named)
        return StartRecord(
            node_id=node_id,
            config=whole(self.config),
            node_key=remembered(self.node_key),
            passphrase_file=whole(passphrase),
            provider_key=remembered(self.provider_key),
            provider_passphrase_file=whole(self.provider_passphrase_file),
            stop_tasks=self.stop_tasks,
            skip_checks=self.skip_checks,
            stake_top_up=self.stake_top_up,
            stake_max_wei="" if self.stake_max_wei is None else str(self.stake_max_wei),
            overrides={
                name: value
                for name, value in self.environment.items()
                if name.startswith(PREFIX) and "__" in name
            },
        )

    def check_node(self, node_id: str) -> None:
        """`BadKey` if this directory was another node's: its store has what that one promised."""
        if self.last is not None and self.last.node_id != node_id:
            raise BadKey(
                f"{self.directory} belongs to the node {self.last.node_id}, and the key"
                f" {self.node_key} to {node_id}.",
                hint=f"Use its key, last {self.last.node_key}, or another --data-dir.",
            )

    def no_node_key(self) -> BadKey:
        """The error for a node key that is not there: never to make another, where the directory
        has had one."""
        message = f"There is no key {self.node_key}."
        if isinstance(self.node_key, KeyFile):
            message = f"There is no key file {self.node_key}."
        if self.last is not None:
            if self.last.node_key == remembered(self.node_key):
                hint = "Put it back from a backup: another key would be another node."
            else:
                hint = f"Name the one it ran with: --node-key {self.last.node_key}"
            return BadKey(
                f"{message} {self.directory} belongs to the node {self.last.node_id}.", hint=hint
            )
        if has_identity(self.directory):
            return BadKey(
                f"{message} An agent has run with its data in {self.directory}.",
                hint="Name the node key that it ran with: --node-key FILE.",
            )
        return BadKey(
            message,
            hint="Name the node's key, --node-key FILE, or make one for a new node:"
            f" p2pool wallet new {self.node_key}",
        )


def has_identity(directory: Path) -> bool:
    """Whether an agent has run there: it leaves the key of its peer and its store."""
    from p2pool.drivers.store import DATABASE_NAME

    return any((directory / name).exists() for name in (PEER_SEED_NAME, DATABASE_NAME))


def start_files(context: click.Context, directory: Path, given: Mapping[str, object]) -> StartFiles:
    """The files of a start from a command's options (`given`, with the names of `_NAMES` and the
    flags), or of the last start where the command line names none."""
    files: dict[str, Any] = {name: given[name] for name in _NAMES if given.get(name) is not None}
    described = any(
        context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in files
    )
    last = _last(directory, described)
    flags: dict[str, Any] = {name: bool(given.get(name)) for name in _FLAGS}
    most = given.get("stake_max_wei")
    overrides: Mapping[str, str] = {}
    if last is not None and not described:
        secret = PASSPHRASE_FILE_VARIABLE in os.environ or PASSPHRASE_VARIABLE in os.environ
        for name in _NAMES:
            if (text := getattr(last, name)) and not ("passphrase" in name and secret):
                files.setdefault(name, key_place(text) if name in _KEYS else Path(text))
        if (provider := files.get("provider_key")) is not None and not is_there(provider):
            del files["provider_key"]  # Once the node is in the pool it is taken away.
            files.pop("provider_passphrase_file", None)
        flags = {name: flags[name] or getattr(last, name) for name in flags}
        most = most if most is not None or not last.stake_max_wei else int(last.stake_max_wei)
        overrides = last.overrides
    files.setdefault("config", directory / CONFIG_NAME)
    files.setdefault("node_key", KeyFile(directory / NODE_KEY_FILE))
    files["stake_max_wei"] = most
    return StartFiles(directory=directory, overrides=overrides, last=last, **files, **flags)


def _last(directory: Path, described: bool) -> StartRecord | None:
    """The last start; a damaged record matters only to who relies on it."""
    try:
        return read_start(directory)
    except Misconfigured:
        if not described:
            raise
    return None
