"""`p2pool task set-secret` and `provide-secrets`: give a task values of its secrets anew.

Both are one request: the values are encrypted anew, for the nodes that there are now. The first
replaces the copies that run, the second lets them be.
"""

from typing import TYPE_CHECKING, Any

import click

from p2pool.cli.shared.lookup import LIVING, find_task
from p2pool.cli.shared.output import write_json, write_line
from p2pool.cli.shared.signing import signer_options
from p2pool.cli.task.secrets import registry
from p2pool.cli.task.secrets.flags import SOURCES, GivenSecrets, new_values, read_source
from p2pool.client.agent_client import Answer
from p2pool.model.access.requests import Action
from p2pool.model.errors import Conflict
from p2pool.model.tasks.secrets import RecipientPolicy, SecretUse

if TYPE_CHECKING:
    from p2pool.cli.shared.signer import Signer


_NAMED = f"NAME={SOURCES}..."


@click.command("set-secret")
@click.argument("name", metavar="TASK")
@click.argument("given", nargs=-1, metavar=_NAMED)
@registry.OPTIONS[0]
@click.option(
    "--restart/--no-restart",
    default=True,
    show_default=True,
    help="Replace the copies one after the other, so that all get the new values; without it a copy"
    " gets them at its next start.",
)
@signer_options
def set_secret(
    name: str,
    given: tuple[str, ...],
    registry_auth: str | None,
    restart: bool,
    signer: "Signer",
) -> None:
    """Give a task other values of its secrets. TASK is its id, the beginning of it, or its name.

    \b
      p2pool task set-secret web db.password=file:./new api_key=env:API_KEY

    All secrets of the task are named: they are encrypted together, and nobody but you has them.
    """
    how = (
        "its copies are replaced one after the other" if restart else "each copy at its next start"
    )
    _send(signer, name, given, registry_auth, restart=restart, said=f"gets the new secrets: {how}.")


@click.command("provide-secrets")
@click.argument("name", metavar="TASK")
@click.argument("given", nargs=-1, metavar=_NAMED)
@registry.OPTIONS[0]
@signer_options
def provide_secrets(
    name: str, given: tuple[str, ...], registry_auth: str | None, signer: "Signer"
) -> None:
    """Give a task its secrets again, where no node that could pass them on is left.

    `task show` says so of a copy: "needs its submitter". TASK is its id, the beginning of it, or
    its name. Copies that run keep what they have.

    \b
      p2pool task provide-secrets web db.password=file:./password api_key=env:API_KEY
    """
    _send(signer, name, given, registry_auth, restart=False, said="can have its secrets again.")


def _send(
    signer: "Signer",
    name: str,
    given: tuple[str, ...],
    registry_auth: str | None,
    *,
    restart: bool,
    said: str,
) -> None:
    """Encrypt the values for the nodes that there are now, and have them set."""
    from p2pool.cli.task.secrets.sealed_request import seal_for
    from p2pool.client.secrets import secrets_table
    from p2pool.codec.spec.secrets import renewal_json

    one = find_task(signer.client, name)
    if one["state"] not in LIVING:
        raise Conflict(f"{one['name']} has ended already ({one['state']}): nothing gets secrets.")
    made = seal_for(signer, _given(one, given, registry_auth))
    text = renewal_json(secrets_table(made.sealed.secrets), restart=restart)
    answer = signer.send(
        Action.SET_SECRET,
        one["task_id"],
        text,
        request_id=made.request_id,
        secrets=made.sealed.blob,
    )
    if answer is None:
        return
    if signer.as_json:
        write_json("request", {**answer, "task": None})
    else:
        write_line(f"{one['name']} {said}")


def _given(one: Answer, given: tuple[str, ...], registry_auth: str | None) -> GivenSecrets:
    """The new values for the secrets that a task has."""
    said: Any = one["spec"].get("secrets")
    if not isinstance(said, dict):
        raise Conflict(
            f"{one['name']} was submitted without secrets.", hint="Submit it anew: p2pool task run."
        )
    uses = tuple(
        SecretUse(str(use["name"]), bool(use.get("file", True)), str(use.get("variable", "")))
        for use in said.get("uses", ())
    )
    if said.get("registry_auth") and not registry_auth:
        raise click.UsageError(
            "The task has credentials for its image's registry, which are encrypted together with"
            " its secrets: give them too, with --registry-auth."
        )
    allowed = said.get("recipients", {})
    policy = RecipientPolicy(tuple(allowed.get("nodes", ())), tuple(allowed.get("providers", ())))
    values = new_values(given, uses, read_source)
    auth = registry.login_of(registry_auth, one["image"], read_source) if registry_auth else None
    return GivenSecrets(values, auth, policy)
