"""Reads a task's specification from flags and a file, as a mapping that `codec.spec` judges.

Flags win over the file.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from p2pool.model import limits
from p2pool.model.errors import BadSpec


def from_file(path: Path) -> dict[str, Any]:
    """The mapping in a JSON or TOML file; `BadSpec` if it is neither."""
    try:
        with path.open("rb") as file:
            data = file.read(limits.SPEC_JSON_MAX_BYTES * 4 + 1)
    except OSError as error:
        raise BadSpec(f"Cannot read {path}: {error.strerror}.") from error
    if len(data) > limits.SPEC_JSON_MAX_BYTES * 4:
        raise BadSpec(f"{path} is too long for a task specification.")
    try:
        text = data.decode("utf-8")
        value = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        raise BadSpec(f"{path} is not {kind}: {error}.") from error
    if not isinstance(value, dict):
        raise BadSpec(
            f"{path} does not hold an object with keys.", hint="See: p2pool task run --help."
        )
    return value


def merged(base: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """The file's mapping with the flags' values; a flag that is not given changes nothing."""
    spec = dict(base)
    for key, value in flags.items():
        old = spec.get(key)
        if isinstance(value, dict):
            value = merged(old if isinstance(old, dict) else {}, value)
        if value is None or value in ((), {}):
            continue
        spec[key] = list(value) if isinstance(value, tuple) else value
    return spec


def default_name(image: str) -> str:
    """The name of a task without one: its image's."""
    last = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return re.sub(r"[^a-z0-9._-]", "-", last.lower()).strip(".-_")[:63] or "task"
