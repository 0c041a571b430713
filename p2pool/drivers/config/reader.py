"""Reads configuration classes from tables, strictly, and writes them as TOML.

cattrs by itself converts values to whatever a class asks for (`1` into `"1"`, `"no"` into True);
here each hook takes one type and says so. The reader collects every problem, not only the first.
"""

import difflib
import json
import re
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NewType, TypeVar, Union, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError
from cattrs.gen import make_dict_structure_fn, override

from p2pool.codec.text.clip import clipped
from p2pool.drivers.paths import absolute_path
from p2pool.drivers.redaction import safe_text
from p2pool.model.errors import Misconfigured
from p2pool.model.ids import ADDRESS_BYTES, Address

Size = NewType("Size", int)
"""A number of bytes; in a file also text such as "16GiB" or "500MB"."""

T = TypeVar("T")

UNITS = {"": 1, "B": 1} | {
    f"{prefix}{suffix}": base ** (power + 1)
    for power, prefix in enumerate("KMGTP")
    for suffix, base in (("iB", 1024), ("B", 1000))
}
SIZE = re.compile(r"([0-9]{1,15})\s*([A-Za-z]*)")
_SHOWN_MAX_BYTES = 60


def read_section_tables(
    cls: type[T], tables: dict[str, Any], env: Mapping[str, str], prefix: str
) -> tuple[T | None, list[str]]:
    """An instance of `cls`, or None and every problem, sorted by place."""
    problems = _override(cls, tables, env, prefix)
    try:
        config = _converter().structure(tables, cls)
    except (ClassValidationError, IterableValidationError) as error:
        _gather(error, "", problems)
        return None, sorted(problems)
    return (None if problems else config), sorted(problems)


# --- strict hooks ------------------------------------------------------------------------------


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    for exact, name in ((str, "text"), (int, "a whole number"), (bool, "true or false")):
        converter.register_structure_hook(exact, _exactly(exact, name))
    converter.register_structure_hook(Path, _path)
    converter.register_structure_hook_func(lambda t: t is Address, _address)
    converter.register_structure_hook_func(lambda t: t is Size, _size)
    converter.register_structure_hook_factory(
        lambda t: _origin(t) is tuple, lambda t: _tuple_of(get_args(t)[0], converter)
    )
    converter.register_structure_hook_func(lambda t: _origin(t) is Mapping, _texts)
    converter.register_structure_hook_factory(attrs.has, lambda t: _section_of(t, converter))
    return converter


def _origin(wanted: Any) -> Any:
    return get_origin(wanted)


def _exactly(exact: type, name: str) -> Any:
    def hook(value: Any, _: Any) -> Any:
        if type(value) is not exact:
            raise ValueError(f"must be {name}, not {_shown(value)}")
        return value

    return hook


def _path(value: Any, _: Any) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"must be a path, not {_shown(value)}")
    try:
        return absolute_path(value)
    except Misconfigured as error:
        raise ValueError(error.message) from error


def _address(value: Any, _: Any) -> Address:
    if isinstance(value, str) and re.fullmatch(r"0x[0-9a-fA-F]{40}", value):
        address = bytes.fromhex(value[2:])
        assert len(address) == ADDRESS_BYTES
        return Address(address)
    raise ValueError(f"must be an address (0x and 40 hex digits), not {_shown(value)}")


def _size(value: Any, _: Any) -> Size:
    if type(value) is int:
        return Size(value)
    if isinstance(value, str) and (match := SIZE.fullmatch(value.strip())):
        unit = UNITS.get(match[2])
        if unit is not None and (match[2] or not int(match[1])):
            return Size(int(match[1]) * unit)
    raise ValueError(
        f'must be a number of bytes or text with a unit such as "16GiB", not {_shown(value)}'
    )


def _tuple_of(item: Any, converter: cattrs.Converter) -> Any:
    def hook(value: Any, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"must be a list, not {_shown(value)}")
        if attrs.has(item):
            return tuple(
                _row_of(number, each, item, converter) for number, each in enumerate(value)
            )
        return tuple(converter.structure(each, item) for each in value)

    return hook


def _row_of(number: int, value: Any, item: Any, converter: cattrs.Converter) -> Any:
    """One table of a list of tables; what is wrong in it is told with its number."""
    if not isinstance(value, dict):
        raise ValueError(f"must be a list of tables, not of {_shown(value)}")
    try:
        return converter.structure(value, item)
    except ClassValidationError as error:
        problems: list[str] = []
        _gather(error, f"[{number}]", problems)
        raise InRow(problems) from error


class InRow(ValueError):
    """What is wrong in a table of a list, each at its place in it."""

    def __init__(self, problems: list[str]) -> None:
        """At least one."""
        super().__init__("; ".join(problems))
        self.problems = problems


def _section_of(cls: Any, converter: cattrs.Converter) -> Any:
    """Read a class field by field, and run each validator where its field's place is known.

    During construction the validators would stop at the first problem and not name the field.
    """

    def field_hook(field: "attrs.Attribute[Any]") -> Any:
        def hook(value: Any, wanted: Any) -> Any:
            read = converter.structure(value, wanted)
            if field.validator is not None:
                field.validator(None, field, read)
            return read

        return hook

    overrides: dict[str, Any] = {
        field.name: override(struct_hook=field_hook(field)) for field in attrs.fields(cls)
    }
    return make_dict_structure_fn(
        cls,
        converter,
        _cattrs_forbid_extra_keys=True,
        _cattrs_detailed_validation=True,
        **overrides,
    )


def _texts(value: Any, _: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError(f"must be a table of texts, not {_shown(value)}")
    return dict(value)


def _shown(value: Any) -> str:
    # A URL may hold a key, and a wrong value is told on a terminal, or in a unit's log.
    return clipped(safe_text(json.dumps(value, default=str)), _SHOWN_MAX_BYTES)


# --- problems ----------------------------------------------------------------------------------


def _gather(error: Exception, place: str, problems: list[str]) -> None:
    """Add every leaf of cattrs's error tree, with its path."""
    if isinstance(error, ClassValidationError):
        with_notes, without = error.group_exceptions()
        for inner, note in with_notes:
            _gather(inner, f"{place}.{note.name}".lstrip("."), problems)
        for inner in without:
            _gather(inner, place, problems)
    elif isinstance(error, ForbiddenExtraKeysError):
        known = [field.name for field in attrs.fields(error.cl)]
        problems.extend(_unknown(key, known, place) for key in sorted(error.extra_fields))
    elif isinstance(error, KeyError):
        problems.append(f"{place}: is missing")
    elif isinstance(error, InRow):
        problems.extend(f"{place}{problem}" for problem in error.problems)
    elif isinstance(error, ValueError):
        problems.append(f"{place}: {error}")
    else:
        problems.append(f"{place}: must be a table")


def _unknown(key: str, known: list[str], place: str) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    meant = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
    return f"{place}.{key}: is unknown; {meant}".lstrip(".")


# --- the environment ---------------------------------------------------------------------------


def path_problem(cls: type, name: str, prefix: str) -> str:
    """What is wrong with a variable's path of keys, or nothing; its value is not looked at."""
    return _put(cls, {}, name.removeprefix(prefix).lower().split("__"), "")


def _override(cls: type, tables: dict[str, Any], env: Mapping[str, str], prefix: str) -> list[str]:
    """Put the environment's values into the tables; returns a problem for each unknown name."""
    problems = []
    for name in sorted(env):
        if name.startswith(prefix) and "__" in name:
            path = name.removeprefix(prefix).lower().split("__")
            problem = _put(cls, tables, path, env[name])
            if problem:
                problems.append(f"{name}: {problem}")
    return problems


def _put(cls: Any, table: dict[str, Any], path: list[str], text: str) -> str:
    """Set one value; returns what is wrong with its path, or nothing."""
    key, *rest = path
    fields = attrs.fields_dict(cls)
    if key not in fields:
        return _unknown(key, list(fields), "")
    wanted: Any = fields[key].type
    if not attrs.has(wanted):
        if rest:
            return f"{key} has no {rest[0]!r} inside"
        table[key] = _from_text(text, wanted)
        return ""
    if not rest:
        return f"{key} is a section; name a key in it"
    inner = table.setdefault(key, {})
    # A section that is not a table is reported when the whole is read.
    return _put(wanted, inner, rest, text) if isinstance(inner, dict) else ""


def _from_text(text: str, wanted: Any) -> Any:
    """An environment value as the value that a file would have; text as it is."""
    kinds = get_args(wanted) if get_origin(wanted) in (Union, types.UnionType) else (wanted,)
    if str in kinds or Path in kinds or Address in kinds:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # Too many digits, too: the key says what it takes.
        if any(get_origin(kind) is tuple for kind in kinds):
            return [part.strip() for part in text.split(",") if part.strip()]
        return text


# --- writing -----------------------------------------------------------------------------------


def toml_text(config: Any) -> str:
    """An attrs instance as TOML; None is left out."""
    return "".join(_sections(config, ())).lstrip("\n")


def toml_tables(tables: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """Tables of plain values as TOML, in their order; what is None or empty is left out."""
    listed = {k: tuple(v) if isinstance(v, list) else v for k, v in tables.items()}
    kept = {key: value for key, value in listed.items() if value not in (None, {}, ())}
    plain = {key: value for key, value in kept.items() if not isinstance(value, Mapping)}
    head = f"\n[{'.'.join(path)}]\n" if path and plain else ""
    lines = "".join(f"{key} = {_value(value)}\n" for key, value in plain.items())
    inner = "".join(
        toml_tables(value, (*path, key))
        for key, value in kept.items()
        if isinstance(value, Mapping)
    )
    return (head + lines + inner).lstrip("\n") if not path else head + lines + inner


def _sections(config: Any, path: tuple[str, ...]) -> list[str]:
    plain, below = [], []
    for field in attrs.fields(type(config)):
        value = getattr(config, field.name)
        if attrs.has(type(value)):
            below += _sections(value, (*path, field.name))
        elif isinstance(value, Mapping):
            inside = ", ".join(f"{_value(k)} = {_value(v)}" for k, v in value.items())
            plain.append(f"{field.name} = {{ {inside} }}\n" if inside else "")
        elif value is not None:
            plain.append(f"{field.name} = {_value(value)}\n")
    head = [f"\n[{'.'.join(path)}]\n"] if path and plain else []
    return head + plain + below


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        return f'"0x{value.hex()}"'
    if isinstance(value, tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    if attrs.has(type(value)):
        fields = ((f.name, getattr(value, f.name)) for f in attrs.fields(type(value)))
        inside = ", ".join(f"{name} = {_value(one)}" for name, one in fields if one is not None)
        return f"{{ {inside} }}"
    # JSON's escapes are TOML's too, except that TOML wants DEL escaped.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
