"""What an agent was started with, kept in its data directory: `start.json`.

Intuition: whoever finds an agent down knows its directory, and not what somebody typed months ago.
So the directory names the configuration and the key files, and `agent run --data-dir D` alone
starts the agent again.

Invariants: written after a start that succeeded, whole or not at all, for its owner only; it holds
paths and never a key or a passphrase.
"""

import json
import os
from pathlib import Path
from typing import get_origin

import attrs

from p2pool.drivers.input_files import is_stdin
from p2pool.drivers.paths import absolute_path
from p2pool.model import limits
from p2pool.model.data_dir import START_FILE
from p2pool.model.errors import Misconfigured

FORMAT = 1


@attrs.frozen(kw_only=True)
class StartRecord:
    """The last start: the node, whole paths (empty: none), and the flags that change what it
    does."""

    node_id: str
    config: str
    node_key: str
    passphrase_file: str = ""
    provider_key: str = ""
    provider_passphrase_file: str = ""
    stop_tasks: bool = False
    skip_checks: bool = False
    stake_top_up: bool = False
    stake_max_wei: str = ""
    """A whole number; empty: nothing was said."""
    overrides: dict[str, str] = attrs.field(factory=dict)
    """The variables P2POOL_SECTION__KEY of that start."""


def whole(path: Path | None) -> str:
    """A path that means the same from everywhere; empty for none, and for standard input."""
    return "" if path is None or is_stdin(path) else str(absolute_path(path))


def read_start(directory: Path) -> StartRecord | None:
    """The record in a data directory, None where no start has succeeded. `Misconfigured`: it is
    damaged."""
    path = directory / START_FILE
    try:
        with path.open("rb") as file:
            data = file.read(limits.CONFIG_MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Misconfigured(
            f"{path} cannot be read: {error.strerror}.",
            hint="Run this as the user who runs the agent.",
        ) from error
    try:
        told = json.loads(data)
        if told.pop("format") != FORMAT:
            raise ValueError("another version of p2pool wrote it")
        record = StartRecord(**told)
        for field in attrs.fields(StartRecord):
            if type(getattr(record, field.name)) is not (get_origin(field.type) or field.type):
                raise ValueError(f"{field.name} has another type")
        most = record.stake_max_wei
        if most and not (most.isascii() and most.isdigit() and len(most) < 80):
            raise ValueError("stake_max_wei is no number")
        if not all(isinstance(one, str) for one in record.overrides.values()):
            raise ValueError("overrides has another type")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Misconfigured(
            f"{path}, which says how the agent was started, is damaged: {error}.",
            hint="Name what it ran with: --config FILE --node-key FILE; the next start mends it.",
        ) from error
    return record


def write_start(directory: Path, record: StartRecord) -> None:
    """Replace the record. Raises OSError."""
    text = json.dumps({"format": FORMAT, **attrs.asdict(record)}, indent=2) + "\n"
    aside = directory / f".{START_FILE}.new"
    aside.unlink(missing_ok=True)
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    aside.replace(directory / START_FILE)
