"""The key `secrets` of a specification: what is read, what is written, and what contradicts it.

Intuition: there are two forms. A table names a blob of encrypted values and who may get them: that
is what `p2pool task run --secret` signs. A list of names alone is what the first feature level
took; nothing can be given to its copies, so it is still read and let in nowhere (`reserved_keys`).

Invariants: a table has a digest, so below the level that brought it every table is refused.
Source: docs/design/secrets.md, "The specification".
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import attrs
import rfc8785

from p2pool.codec.json.depth import too_deep
from p2pool.codec.json.reader import Reader
from p2pool.codec.spec import rules
from p2pool.model import limits
from p2pool.model.errors import BadSpec
from p2pool.model.ids import ADDRESS_BYTES, DIGEST_BYTES
from p2pool.model.tasks.secrets import (
    ANYONE,
    NO_SECRETS,
    RecipientPolicy,
    SecretUse,
    TaskSecrets,
)
from p2pool.model.tasks.spec import TaskSpec

DIRECTORY = "/run/secrets"
"""Where a copy finds its secrets as files."""

_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{limits.SECRET_NAME_MAX_BYTES - 1}}}")
_HEX = re.compile(r"[0-9a-f]*")


def read_secrets(r: Reader, key: str = "secrets") -> TaskSecrets:
    """The value of a key, in either form."""
    if isinstance(r.left.get(key), list | tuple):
        names = r.texts(key, limits.SECRETS_MAX, rule=rules.name_rule, unique=True)
        return TaskSecrets(uses=tuple(SecretUse(name) for name in names))
    return r.table(key, _sealed, NO_SECRETS)


def _sealed(r: Reader) -> TaskSecrets:
    return TaskSecrets(
        uses=r.tables("uses", limits.SECRETS_MAX, _use),
        digest=r.text("digest", rule=_digest_rule),
        size_bytes=r.number("size_bytes", None, 1, limits.SECRET_BLOB_MAX_BYTES),
        recipients=r.table("recipients", _recipients, ANYONE),
        registry_auth=r.flag("registry_auth", False),
    )


def _use(r: Reader) -> SecretUse:
    return SecretUse(
        name=r.text("name", rule=secret_name_rule),
        file=r.flag("file", True),
        variable=r.text("variable", "", rule=_variable_rule),
    )


def _recipients(r: Reader) -> RecipientPolicy:
    most = limits.SECRET_RECIPIENTS_MAX
    return RecipientPolicy(
        nodes=r.texts("nodes", most, rule=_address_rule, unique=True),
        providers=r.texts("providers", most, rule=_address_rule, unique=True),
    )


def secrets_plain(secrets: TaskSecrets) -> list[Any] | None:
    """The names alone, if there are no values; None if they have the other form."""
    return None if secrets.sealed else [use.name for use in secrets.uses]


def secret_name_rule(text: str) -> str:
    """Names of secrets, which are names of files too."""
    if _NAME.fullmatch(text):
        return ""
    most = limits.SECRET_NAME_MAX_BYTES
    return f"is not a secret's name: 1 to {most} of A-Z, a-z, 0-9, '_', '-', '.', no '.' first"


def _variable_rule(text: str) -> str:
    if not text:
        return "is empty: leave it out instead"
    if rules.chooses_devices(text):
        return "is set by the agent: ask for GPUs with resources.gpu"
    return rules.env_name_rule(text)


def _digest_rule(text: str) -> str:
    return _hex_rule(text, DIGEST_BYTES)


def _address_rule(text: str) -> str:
    return _hex_rule(text, ADDRESS_BYTES)


def _hex_rule(text: str, length: int) -> str:
    if len(text) == 2 * length and _HEX.fullmatch(text):
        return ""
    return f"is not {2 * length} lower-case hex digits"


def secret_contradictions(spec: TaskSpec) -> Iterator[str]:
    """What contradicts itself, or the rest of a specification."""
    secrets = spec.secrets
    if not secrets.sealed:
        return
    yield from contradictions_in(secrets)
    taken = {name for name, _ in spec.environment}
    for number, use in enumerate(secrets.uses):
        if use.variable in taken:
            yield f"secrets.uses[{number}].variable is in env too: {use.variable}"
    if any(use.file for use in secrets.uses):
        for number, mount in enumerate(spec.mounts):
            if f"{mount.target}/".startswith(f"{DIRECTORY}/"):
                yield f"mounts[{number}].target would cover {DIRECTORY}, where the secrets are"


def contradictions_in(secrets: TaskSecrets) -> Iterator[str]:
    """What contradicts itself in sealed secrets, whatever task has them."""
    if not secrets.uses and not secrets.registry_auth:
        yield "secrets names none: leave it out instead"
    names = [use.name for use in secrets.uses]
    if len(set(names)) != len(names):
        yield "secrets.uses names a secret twice"
    variables = [use.variable for use in secrets.uses if use.variable]
    if len(set(variables)) != len(variables):
        yield "secrets.uses names a variable twice"
    for number, use in enumerate(secrets.uses):
        if not use.file and not use.variable:
            yield f"secrets.uses[{number}] is neither a file nor a variable: nobody would see it"


# --- set since the submission ---------------------------------------------------------------------


@attrs.frozen
class SecretsRenewal:
    """What a request to set a task's secrets says: `{"restart": true, "secrets": {...}}`.

    `restart`: its copies are replaced one after the other, so that all of them get the new ones;
    without it those that run keep what they have.
    """

    secrets: TaskSecrets
    restart: bool = True


def parse_renewal(text: str) -> SecretsRenewal:
    """The renewal in a request's text; `BadSpec` with all problems."""
    if too_deep(text):
        raise BadSpec("What the request says of secrets is nested too deeply.")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadSpec("What the request says of secrets is not JSON.") from error
    return _renewal(value)


def _renewal(value: Any) -> SecretsRenewal:
    problems: list[str] = []
    reader = Reader(value, "", problems)
    found = SecretsRenewal(read_secrets(reader), reader.flag("restart", True))
    reader.finish()
    if not problems and not found.secrets.sealed:
        problems.append("secrets has no digest: there are no values to give")
    if not problems:
        problems += contradictions_in(found.secrets)
    if problems:
        told = "; ".join(problems)
        raise BadSpec(f"The secrets are not good: {told}.", problems=tuple(problems))
    return found


def renewal_json(secrets: dict[str, Any], *, restart: bool) -> str:
    """The text of a request that sets a task's secrets; `secrets` as in a specification."""
    return str(rfc8785.dumps({"restart": restart, "secrets": secrets}), "utf-8")
