"""The secrets of a task, from flags and a file: what says where values come from, never a value.

    --secret db.password=file:./password     a file in the copy: /run/secrets/db.password
    --secret-env API_KEY=env:API_KEY         a variable of the copy's process
    --secret-env API_KEY                     the same, as for --env
    --secret token=-                         from standard input, or typed where it is a terminal

Intuition: what stands on a command line is seen by every user of the machine and kept in the
shell's history, so a value there is refused, and not repeated in the refusal. A file of a task that
names its secrets can be kept with the code: it holds the same words after `from`.

Invariants: a value is read once, to its last byte, and goes nowhere but into what is encrypted.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import click

from p2pool.cli.task.secrets import registry
from p2pool.drivers.input_files import STDIN, input_path, read_input
from p2pool.model import limits
from p2pool.model.errors import BadSpec
from p2pool.model.tasks.secrets import (
    ANYONE,
    RecipientPolicy,
    RegistryAuth,
    SecretUse,
    SecretValue,
)

SOURCES = "file:PATH|env:VARIABLE|-"
FILE_KEYS = ("secrets", "registry_auth", "secret_recipients")
"""Keys of a task's file that are read here, and of which the specification gets the digest."""

OPTIONS = (
    click.option(
        "--secret",
        "secrets",
        multiple=True,
        metavar=f"NAME={SOURCES}",
        help="Secret, as the file /run/secrets/NAME of each copy; encrypted here, for the nodes"
        " that run it. -: standard input. Repeatable.",
    ),
    click.option(
        "--secret-env",
        "secret_variables",
        multiple=True,
        metavar=f"NAME[={SOURCES}]",
        help="Secret, as a variable; NAME alone: with its value here. Repeatable.",
    ),
    click.option(
        "--secret-recipient",
        "secret_recipients",
        multiple=True,
        metavar="node=ADDRESS|provider=ADDRESS",
        help="Nodes that may ever get the secrets, and run the task. Default: any member."
        " Repeatable.",
    ),
    *registry.OPTIONS,
)


@attrs.frozen
class GivenSecrets:
    """What somebody wants sealed for a task."""

    values: tuple[SecretValue, ...]
    auth: RegistryAuth | None
    policy: RecipientPolicy


@attrs.define
class Wanted:
    """One secret before its value is read. `at`: what names it in an error."""

    at: str
    source: str
    directory: Path | None
    file: bool = False
    variable: str | None = None


@attrs.frozen
class WantedSecrets:
    """The secrets of a task before their values are read."""

    named: Mapping[str, Wanted]
    login: Any
    policy: RecipientPolicy

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.named or self.login)

    def read(self, image: str) -> GivenSecrets:
        """Read the values, and credentials for an image's registry. `UsageError`: there is none."""
        values = tuple(_value(name, one) for name, one in self.named.items())
        auth = registry.login_of(self.login, image, read_source) if self.login else None
        return GivenSecrets(values, auth, self.policy)


def wanted_secrets(given: Mapping[str, Any], base: dict[str, Any]) -> WantedSecrets:
    """The secrets in flags and in a file's keys, which are taken out of `base`; flags win over the
    file. `UsageError`, `BadSpec`: one is not said as it should be."""
    path = given["path"]
    directory = path.parent if path is not None and str(path) != "-" else None
    kept = {key: base.pop(key) for key in FILE_KEYS if key in base}
    wanted = dict(_in_file(kept.get("secrets", ()), directory))
    flagged = _in_flags(given["secrets"], given["secret_variables"])
    login = given["registry_auth"] or kept.get("registry_auth", "")
    policy = _policy(given["secret_recipients"], kept.get("secret_recipients", {}))
    found = WantedSecrets(wanted | flagged, login, policy)
    if policy != ANYONE and not found:
        raise click.UsageError("--secret-recipient says who may get secrets, and there are none.")
    return found


def new_values(
    given: tuple[str, ...], uses: tuple[SecretUse, ...], read: Callable[[str, str], bytes]
) -> tuple[SecretValue, ...]:
    """The values in `NAME=SOURCE` arguments for the secrets that a task has, each as it is there.
    `UsageError`: one is missing or unknown."""
    sources: dict[str, str] = {}
    for text in given:
        name, source = _split("NAME", text)
        if name in sources:
            raise click.UsageError(f"{name} is given twice.")
        sources[name] = source
    names = [use.name for use in uses]
    if unknown := [name for name in sources if name not in names]:
        raise click.UsageError(
            f"The task has no secret {unknown[0]}; it has {', '.join(names) or 'none'}."
        )
    if missing := [name for name in names if name not in sources]:
        raise click.UsageError(
            f"Give {', '.join(missing)} too: all secrets of a task are encrypted together, and"
            " nobody but you has the others' values."
        )
    return tuple(
        SecretValue(use.name, read(sources[use.name], use.name), use.file, use.variable or None)
        for use in uses
    )


# --- flags --------------------------------------------------------------------------------------


def _in_flags(files: tuple[str, ...], variables: tuple[str, ...]) -> dict[str, Wanted]:
    from p2pool.codec.spec import rules

    found: dict[str, Wanted] = {}
    for text in files:
        name, source = _split("--secret", text)
        if name in found:
            raise click.UsageError(f"--secret {name} is given twice.")
        found[name] = Wanted(f"--secret {name}", source, None, file=True)
    named: dict[str, None] = {}
    for text in variables:
        name, source = _split("--secret-env", text, here=True)
        if name in named:
            raise click.UsageError(f"--secret-env {name} is given twice.")
        named[name] = None
        if wrong := rules.env_name_rule(name):
            raise click.UsageError(f"--secret-env {name[:64]} {wrong}.")
        one = found.setdefault(name, Wanted(f"--secret-env {name}", source, None))
        if one.source != source:
            raise click.UsageError(
                f"--secret and --secret-env name {name} with two values: give one another name."
            )
        one.variable = name
    return found


def _split(option: str, text: str, *, here: bool = False) -> tuple[str, str]:
    """Name and source. Nothing of a text that may be a value is repeated."""
    from p2pool.codec.spec.secrets import secret_name_rule

    name, equals, source = text.partition("=")
    if not equals and here:
        source = f"env:{name}"
    elif not equals:
        raise click.UsageError(f"{option} takes NAME={SOURCES}.")
    if wrong := secret_name_rule(name):
        raise click.UsageError(f"{option}: what stands before the = {wrong}.")
    if not _is_source(source):
        raise click.UsageError(
            f"{option} {name}: say where its value comes from: {name}=file:PATH,"
            f" {name}=env:VARIABLE, or {name}=- for standard input. A value on a command line is"
            " seen by every user of this machine, and stays in the shell's history."
        )
    return name, source


def _is_source(text: str) -> bool:
    kind, colon, rest = text.partition(":")
    return text == "-" or (kind in ("file", "env") and bool(colon and rest))


# --- a file -------------------------------------------------------------------------------------


def _in_file(said: Any, directory: Path | None) -> Iterator[tuple[str, Wanted]]:
    """The secrets that a task's file names."""
    from p2pool.codec.spec.secrets import secret_name_rule

    if not isinstance(said, list | tuple):
        raise _bad("secrets", 'is no list of {name = "NAME", from = "file:PATH"}')
    for number, row in enumerate(said):
        at = f"secrets[{number}]"
        if not isinstance(row, Mapping):
            raise _bad(at, f'is no table: {{name = "NAME", from = "{SOURCES}"}}')
        if "value" in row:
            raise _bad(at, "holds a value, which belongs in no file of a task: say where it is,"
                       f' from = "{SOURCES}"')  # fmt: skip
        if unknown := [key for key in row if key not in ("name", "from", "file", "variable")]:
            raise _bad(at, f"has the key {unknown[0]!r}; known are name, from, file, variable")
        name, source, variable = (row.get(key) for key in ("name", "from", "variable"))
        if not isinstance(name, str) or (wrong := secret_name_rule(name)):
            raise _bad(f"{at}.name", wrong if isinstance(name, str) else "is missing")
        if not isinstance(source, str) or not _is_source(source):
            raise _bad(f"{at}.from", f"is not {SOURCES}")
        if variable is not None and not isinstance(variable, str):
            raise _bad(f"{at}.variable", "is no text")
        is_file = row.get("file", variable is None)
        if not isinstance(is_file, bool):
            raise _bad(f"{at}.file", "is not true or false")
        yield name, Wanted(at, source, directory, file=is_file, variable=variable)


def _policy(flags: tuple[str, ...], said: Any) -> RecipientPolicy:
    named: dict[str, list[str]] = {"node": [], "provider": []}
    if not isinstance(said, Mapping) or any(key not in ("nodes", "providers") for key in said):
        raise _bad("secret_recipients", "has the keys nodes and providers, and no others")
    for key in named if not flags else ():
        addresses = said.get(f"{key}s", ())
        if not isinstance(addresses, list | tuple):
            raise _bad(f"secret_recipients.{key}s", "is no list of addresses")
        named[key] += [_address(str(one), f"secret_recipients.{key}s") for one in addresses]
    for text in flags:
        kind, _, address = text.partition("=")
        if kind not in named:
            raise click.UsageError(
                f"--secret-recipient {text[:64]}: write node=ADDRESS or provider=ADDRESS."
            )
        named[kind].append(_address(address, "--secret-recipient"))
    return RecipientPolicy(
        tuple(dict.fromkeys(named["node"])), tuple(dict.fromkeys(named["provider"]))
    )


def _address(text: str, where: str) -> str:
    from p2pool.codec.json.hex import unhex
    from p2pool.model.ids import ADDRESS_BYTES

    found = unhex(text, ADDRESS_BYTES)
    if found is None:
        raise click.UsageError(f"{where}: {text[:64]!r} is not an address: 0x and 40 hex digits.")
    return found.hex()


def _bad(path: str, why: str) -> BadSpec:
    problem = f"{path} {why}"
    return BadSpec(f"The task's file is not good: {problem}.", problems=(problem,))


# --- values -------------------------------------------------------------------------------------


def _value(name: str, wanted: Wanted) -> SecretValue:
    value = read_source(wanted.source, name, directory=wanted.directory, at=wanted.at)
    return SecretValue(name, value, wanted.file, wanted.variable)


def read_source(source: str, name: str, *, directory: Path | None = None, at: str = "") -> bytes:
    """The bytes of `file:PATH`, below the `directory` of a task's file, `env:VARIABLE` or `-`.
    `UsageError`: there are none, or too many."""
    at = at or name
    kind, _, where = source.partition(":")
    if source == "-":
        value = _from_stdin(name)
    elif kind == "env":
        found = os.environb.get(os.fsencode(where))
        if found is None:
            raise click.UsageError(f"{at}: the variable {where} is not set here.")
        value = found
    else:
        path = input_path(directory / Path(where).expanduser() if directory else where)
        if path == STDIN:
            raise click.UsageError(f"{at}: write - alone for standard input.")
        try:
            value = read_input(path, limits.SECRET_MAX_BYTES, f"secret {name}")
        except OSError as error:
            raise click.UsageError(f"{at}: {path} cannot be read: {error.strerror}.") from error
    if len(value) > limits.SECRET_MAX_BYTES:
        most = limits.SECRET_MAX_BYTES // 1024
        raise click.UsageError(f"{at}: its value is longer than {most} KiB.")
    return value


def _from_stdin(name: str) -> bytes:
    """All of standard input; where that is a terminal, a line that is not shown."""
    if sys.stdin is not None and sys.stdin.isatty():
        typed: str = click.prompt(f"Secret {name}", hide_input=True, err=True)
        return typed.encode()
    return read_input(STDIN, limits.SECRET_MAX_BYTES, f"secret {name}")
