"""The pages of `docs/reference/`: configuration, limits, commands, exit codes."""

import ast
import inspect
import io
import textwrap
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NewType, get_args, get_origin

import attrs
import click

from p2pool.cli import errors as cli_errors
from p2pool.drivers.config import schema
from p2pool.drivers.config.reader import toml_text
from p2pool.drivers.config.schema import AgentConfig
from p2pool.model import limits
from p2pool.model.ids import Address
from tests.cli.command_tree import context_of, every_command
from tests.docs.generator.facts import human, known_errors
from tests.docs.generator.markdown import WIDTH, paragraphs, sentence, table
from tests.docs.generator.sources import readers, sources, strings_after

# --- configuration ------------------------------------------------------------------------------


def configuration() -> str:
    """Every section with its keys."""
    return "\n".join(_section(cls, path) for path, cls in sections(AgentConfig, ()) if path)


def sections(cls: type[Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], type[Any]]]:
    """A section and those inside it."""
    yield path, cls
    for field in attrs.fields(cls):
        if attrs.has(field.type):
            yield from sections(field.type, (*path, field.name))
        elif (row := _row(field.type)) is not None:
            yield (*path, f"{field.name}[]"), row


def _row(hint: Any) -> type[Any] | None:
    """The class of each table, where a key is a list of tables."""
    arguments = get_args(hint)
    found = arguments[0] if get_origin(hint) is tuple else None
    return found if isinstance(found, type) and attrs.has(found) else None


def _section(cls: type[Any], path: tuple[str, ...]) -> str:
    said = strings_after(cls)
    about = paragraphs(cls.__doc__).partition(": ")[2]
    name = ".".join(path)
    in_list = name.endswith("[]")
    head = f"[[{name.removesuffix('[]')}]]" if in_list else f"[{name}]"
    parts = [f"## {head}\n\n{about[0].upper()}{about[1:]}"]
    for field in attrs.fields(cls):
        if attrs.has(field.type):
            continue
        lines = [f"type:        {_type(field.type)}", f"default:     {_default(field)}"]
        if bound := _bound(field.validator):
            lines.append(f"bound:       {bound}")
        if not in_list:
            lines.append(f"environment: {schema.PREFIX}{'__'.join((*path, field.name)).upper()}")
        told = textwrap.fill(said[field.name], WIDTH)
        shown = textwrap.indent("\n".join(lines), "    ")
        parts.append(f"### {'.'.join((*path, field.name))}\n\n{told}\n\n{shown}\n")
    return "\n".join(parts)


def _type(hint: Any) -> str:
    arguments = [one for one in get_args(hint) if one is not type(None)]
    if get_origin(hint) is tuple:
        return f"list of {_plural(arguments[0])}"
    if get_origin(hint) is Mapping or hint is Mapping:
        return "table of texts"
    if arguments:
        return _type(arguments[0])
    if attrs.has(hint):
        return "table"
    if hint is Address:
        return "address, 0x and 40 hex digits"
    if isinstance(hint, NewType):
        return 'size: a number of bytes, or text such as "16GiB"'
    named = {str: "text", int: "whole number", bool: "true or false", Path: "path"}
    return named[hint]


def _plural(hint: Any) -> str:
    return f"{_type(hint)}s"


def _default(field: "attrs.Attribute[Any]") -> str:
    default = field.default
    if default is attrs.NOTHING:
        return "none: it has to be set"
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return "empty"
    if default is None:
        return "unset"
    holder = attrs.make_class("Holder", {field.name: attrs.field()})
    text = toml_text(holder(default)).partition(" = ")[2].strip()
    return text if text not in ('""', "[]") else f"{text} (none)"


def _bound(validator: Any) -> str:
    if validator is None:
        return ""
    return str(validator.__doc__ if inspect.isfunction(validator) else validator)


# --- limits -------------------------------------------------------------------------------------


def limit_tables() -> str:
    """Every limit by the sections of its module, and the relations that hold between them."""
    text = sources()["model.limits"]
    comments = _comments(text)
    parts: list[str] = []
    rows: list[tuple[object, ...]] = []
    relations: list[str] = []
    heads = iter(sorted((at, said) for at, said in comments.items() if said.startswith("---")))
    head = next(heads)
    for node in ast.parse(text).body:
        while head is not None and head[0] < node.lineno and isinstance(node, ast.Assign):
            if rows:
                parts.append(table(LIMIT_HEAD, rows))
            rows = []
            parts.append(f"## {head[1].strip('- ').capitalize()}\n")
            head = next(heads, (10**9, ""))
        if isinstance(node, ast.Assign):
            rows.append(_limit(node, comments))
        elif isinstance(node, ast.Assert):
            relations.append(_relation(node, comments))
    parts.append(table(LIMIT_HEAD, rows))
    shown = "".join(relations)
    parts.append(f"## Relations\n\nThese hold whatever the values are set to.\n\n```\n{shown}```\n")
    return "\n".join(parts)


LIMIT_HEAD = ("limit", "value", "", "why", "read by")


def _comments(text: str) -> dict[int, str]:
    """The comment of each line that has one."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {t.start[0]: t.string[1:].strip() for t in tokens if t.type == tokenize.COMMENT}


def _above(line: int, comments: Mapping[int, str]) -> list[str]:
    """The comments right above a line, headings excepted."""
    found: list[str] = []
    while (said := comments.get(line - 1)) is not None and not said.startswith("---"):
        found.insert(0, said)
        line -= 1
    return found


def _limit(node: ast.Assign, comments: Mapping[int, str]) -> tuple[object, ...]:
    target = node.targets[0]
    assert isinstance(target, ast.Name)
    value = getattr(limits, target.id)
    why = [*_above(node.lineno, comments), comments.get(node.lineno, "")]
    # Folders, not modules: a page that changes with every import is not kept up.
    rooms = dict.fromkeys(".".join(at.split(".")[:2]) for at in readers(target.id, "model.limits"))
    shown = ", ".join(rooms)
    return f"`{target.id}`", value, human(target.id), " ".join(why).strip(), shown


def _relation(node: ast.Assert, comments: Mapping[int, str]) -> str:
    said = [one for one in _above(node.lineno, comments) if not one.startswith("Relations that")]
    why = "".join(f"# {one}\n" for one in said)
    return f"{why}{ast.unparse(node.test)}\n"


# --- commands -----------------------------------------------------------------------------------


def commands() -> str:
    """Every command with the help that it prints."""
    return "\n".join(_command(path, command) for path, command in every_command())


def _command(path: tuple[str, ...], command: click.Command) -> str:
    text = command.get_help(context_of(command, " ".join(path)))
    shown = "\n".join(line.rstrip() for line in text.splitlines())
    return f"## {' '.join(path)}\n\n```\n{shown}\n```\n"


# --- exit codes ---------------------------------------------------------------------------------


def exit_codes() -> str:
    """Each exit code and what it means, as `p2pool --help` says it."""
    rows = []
    for line in cli_errors.EXIT_CODES_HELP.splitlines():
        number, _, meaning = line.strip().partition(" ")
        if number.isdigit():
            rows.append((number, meaning.strip()))
    return table(("code", "meaning"), rows)


def exit_codes_of_errors() -> str:
    """The exit code and HTTP status of each error."""
    from p2pool.api.http.problems import status_of

    rows = []
    for cls in known_errors():
        error = cls("")
        code, status = cli_errors.exit_code(error), status_of(error)
        rows.append((f"`{cls.code}`", code, status, sentence(cls.__doc__)))
    return table(("error", "exit code", "HTTP", "meaning"), rows)
