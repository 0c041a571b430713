"""Reads a task's specification from flags and a file, as a mapping that `codec.spec` judges.

Flags win over the file.
"""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from p2pool.codec.json.depth import too_deep
from p2pool.drivers.input_files import is_stdin, read_input
from p2pool.model import limits
from p2pool.model.errors import BadSpec


def from_file(path: Path) -> dict[str, Any]:
    """The mapping in a JSON, TOML or YAML file, or on standard input; `BadSpec` if it is none."""
    named = "Standard input" if is_stdin(path) else str(path)
    try:
        data = read_input(path, limits.SPEC_JSON_MAX_BYTES * 4, "task specification")
    except OSError as error:
        raise BadSpec(f"Cannot read {path}: {error.strerror}.") from error
    if len(data) > limits.SPEC_JSON_MAX_BYTES * 4:
        raise BadSpec(f"{named} is too long for a task specification.")
    kind = _KINDS.get(path.suffix.lower(), "")
    try:
        text = data.decode("utf-8-sig")
        if not kind:
            kind = _guessed(text)
        value = _READERS[kind](text)
    except (ValueError, RecursionError) as error:
        raise BadSpec(f"{named} is not {kind or 'UTF-8 text'}: {error}.") from error
    if not isinstance(value, dict):
        raise BadSpec(
            f"{named} does not hold an object with keys.", hint="See: p2pool task run --help."
        )
    return value


def _guessed(text: str) -> str:
    """The form of a text without a name that says it."""
    if text.lstrip()[:1] in ("{", "["):
        return "JSON"
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError):
        return "YAML"
    return "TOML"


def _json(text: str) -> Any:
    if too_deep(text):
        raise ValueError("it is nested too deeply")
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; a name that stands twice would be read once."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _yaml(text: str) -> Any:
    from p2pool.cli.task.yaml_text import read_yaml

    return read_yaml(text)


_KINDS = {".json": "JSON", ".toml": "TOML", ".yaml": "YAML", ".yml": "YAML"}
_READERS: dict[str, Callable[[str], Any]] = {"JSON": _json, "TOML": tomllib.loads, "YAML": _yaml}


def merged(base: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """The file's mapping with the flags' values; a flag that is not given changes nothing."""
    spec = dict(base)
    for key, value in flags.items():
        old = spec.get(key)
        if isinstance(value, dict):
            value = merged(old if isinstance(old, dict) else {}, value)
            if value and old is not None and not isinstance(old, dict):
                continue  # It stays what it is, to be refused: it would vanish unsaid.
        if value is None or value in ((), {}):
            continue
        spec[key] = list(value) if isinstance(value, tuple) else value
    return spec


def named_values(option: str, given: tuple[str, ...]) -> dict[str, str]:
    """`NAME=VALUE` pairs; never takes a value from the shell's own environment."""
    found: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals:
            raise click.UsageError(f"{option} {one}: write it as NAME=VALUE.")
        if name in found:
            raise click.UsageError(f"{option} {name} is given twice.")
        found[name] = value
    return found


def default_name(image: str) -> str:
    """The name of a task without one: its image's."""
    last = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return re.sub(r"[^a-z0-9._-]", "-", last.lower()).strip(".-_")[:63] or "task"
