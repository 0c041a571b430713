"""`p2pool access grant`: signs a delegation, and writes it into a file for whoever gets it.

Nothing is sent: a pool learns of a delegation with the first request under it, so a grant works
without an agent too (`--offline`). With one the command looks first whether the account that signs
rules the pool, since a delegation by another gives nothing.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click
from click.core import ParameterSource

from p2pool.cli.shared import types
from p2pool.cli.shared.chain import config_file, config_option, pool_option
from p2pool.cli.shared.delegations.delegation_file import (
    check_free,
    delegation_text,
    pool_text,
    write_delegation,
)
from p2pool.cli.shared.delegations.words import SCOPES, moment, quota_text
from p2pool.cli.shared.options import (
    agent_name_option,
    contract_option,
    dry_run_option,
    found_agent,
    json_option,
    key_options,
    names_remote,
)
from p2pool.cli.shared.output import warn, write_json
from p2pool.cli.shared.signer import key_address, opened_account, plain, write_signature
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.codec.json.delegations import delegation_file_json, name_prefix_rule, quota_json
from p2pool.codec.json.hex import address_text, unhex
from p2pool.drivers.input_files import is_stdin
from p2pool.model import limits
from p2pool.model.access.delegations import (
    Delegation,
    DelegationFile,
    Quota,
    Scope,
    SignedDelegation,
)
from p2pool.model.errors import BadSignature, Conflict, NotAllowed, Unavailable
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import ADDRESS_BYTES, Address, PoolRef

if TYPE_CHECKING:
    from p2pool.model.ports.signer import Signer

F = TypeVar("F", bound=Callable[..., Any])

_SIGNATURE_BYTES = 65
_OFFLINE = "Sign all the same, asking no agent: --offline."


def _prefix(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and (wrong := name_prefix_rule(value)):
        raise click.BadParameter(f"{value[:64]!r} {wrong}.")
    return value


QUOTA_OPTIONS = (
    click.option(
        "--max-gpus",
        type=types.Number(0, limits.QUOTA_NUMBER_MAX),
        help="Most GPUs of its running copies together; 0 for none.",
    ),
    click.option(
        "--max-cpus",
        type=types.Cpus(limits.QUOTA_NUMBER_MAX),
        help="Most processors of its running copies together.",
    ),
    click.option(
        "--max-replicas",
        type=types.Number(1, limits.QUOTA_NUMBER_MAX),
        help="Most running copies together.",
    ),
    click.option(
        "--max-priority",
        type=types.Number(0, limits.PRIORITY_MAX),
        help=f"Highest priority of a task, 0 to {limits.PRIORITY_MAX}.",
    ),
    click.option(
        "--name-prefix", metavar="TEXT", callback=_prefix, help="How its tasks' names begin."
    ),
)


def quota_options(command: F) -> F:
    """What sets a quota."""
    for option in reversed(QUOTA_OPTIONS):
        command = option(command)
    return command


@click.command("grant")
@click.argument("account", metavar="ACCOUNT", type=types.AccountType())
@click.option(
    "--scope",
    type=click.Choice(list(SCOPES)),
    required=True,
    help="read: the log lines of every task. submit: also run tasks, stop its own and set their"
    " secrets. admin: also stop any task and set its secrets, drain, resume and ban nodes.",
)
@click.option(
    "--for",
    "span_s",
    type=types.Lifetime(limits.DELEGATION_LIFETIME_MIN_S, limits.DELEGATION_LIFETIME_MAX_S),
    required=True,
    help="For how long, such as 12h or 30d; 366d at most.",
)
@click.option(
    "--from",
    "begin_s",
    type=types.Moment(),
    help="When it begins, such as 2026-12-01T06:00:00Z. Default: now.",
)
@quota_options
@click.option(
    "--signature",
    metavar="HEX",
    help="The signature that a wallet made of what --dry-run shows for the same options, with the"
    " same --from; then no key is needed.",
)
@click.option(
    "--out",
    type=types.FilePath(dir_okay=False),
    metavar="FILE",
    help="Write the delegation to FILE. Default, and -: standard output.",
)
@click.option("--force", is_flag=True, help="Write over FILE if it is there.")
@click.option(
    "--offline",
    is_flag=True,
    help="Ask no agent: the pool is that of the configuration. Nobody checks whether --key rules"
    " it.",
)
@config_option
@pool_option
@agent_name_option()
@key_options
@contract_option
@dry_run_option
@json_option
@click.pass_context
def grant(
    context: click.Context,
    /,
    account: Address,
    scope: str,
    span_s: int,
    begin_s: int | None,
    signature: str | None,
    out: Path | None,
    force: bool,
    key: str | None,
    passphrase_file: str | None,
    contract: Address | None,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Let ACCOUNT act in the pool for the pool's creator or manager, whose key signs.

    The delegation is a file: give it to the account's owner, who names it with --delegation or
    P2POOL_DELEGATION. It is no secret, since only that account's key can use it. Without a quota
    the account may use the whole pool.

    \b
      p2pool access grant 0x... --scope submit --for 30d --max-gpus 4 --out alice.json
    """
    quota = _quota(given)
    if quota is not None and scope == "read":
        raise click.UsageError("With --scope read nothing can be run, so a quota limits nothing.")
    if force and (out is None or is_stdin(out)):
        raise click.UsageError("--force needs --out FILE: nothing else is written over.")
    if signature is not None and (begin_s is None or dry_run or given["offline"]):
        raise click.UsageError(
            "--signature needs the --from that was signed, and an agent that knows who rules the"
            " pool: neither --dry-run nor --offline."
        )
    if out is not None and not is_stdin(out) and not force and not dry_run:
        check_free(out)
    pool, told = _pool(context, given, account)
    not_before_s = _begin(begin_s, span_s, told)
    delegation = Delegation(
        pool_id=pool.pool_id,
        delegate=account,
        scope=Scope[scope.upper()],
        not_before_s=not_before_s,
        not_after_s=not_before_s + span_s,
        quota=quota,
    )
    if contract is not None:
        _check_grantor(contract, account, told)
    elif key and signature is None and (said := key_address(key)) is not None:
        _check_grantor(said, account, told)
    _warn(account, quota, told)
    if dry_run:
        from p2pool.wire.typed_data import delegation_typed_data

        write_signature(plain(delegation_typed_data(pool, delegation)), as_json)
        return
    if signature is not None:
        file = _by_wallet(pool, delegation, signature, contract, told)
    elif contract is not None:
        file = _for_contract(pool, delegation, contract, opened_account(key, passphrase_file))
    else:
        file = _signed(pool, delegation, key, passphrase_file, told)
    _hand_over(file, out, force=force, as_json=as_json)


def _quota(given: Mapping[str, Any]) -> Quota | None:
    """The quota, None if no flag sets one."""
    quota = Quota(
        max_gpus=given["max_gpus"],
        max_cpu_milli=given["max_cpus"],
        max_replicas=given["max_replicas"],
        max_priority=given["max_priority"],
        name_prefix=given["name_prefix"],
    )
    return None if quota == Quota() else quota


def _begin(given_s: int | None, span_s: int, told: Answer | None) -> int:
    """When it begins; `UsageError` for a time that nobody means, `Conflict` if a revocation voids
    it. A clock that was ahead when somebody revoked makes it begin a moment later."""
    now_s = int(time.time())
    void_s = 0 if told is None else told["revoked_before_s"]
    if given_s is None and void_s <= now_s + limits.CLOCK_SKEW_MAX_MS // 1000:
        return max(now_s, void_s)
    if (begin_s := now_s if given_s is None else given_s) < void_s:
        raise Conflict(
            f"It would begin at {moment(begin_s)}, and what begins before {moment(void_s)} was"
            " revoked for this account.",
            hint=f"Let it begin then: --from {void_s}.",
        )
    assert given_s is not None
    if given_s + span_s <= now_s:
        raise click.UsageError(
            f"From {moment(given_s)} on for {types.span_text(span_s)}: that is over already."
        )
    if given_s > now_s + limits.DELEGATION_LIFETIME_MAX_S:
        most = types.span_text(limits.DELEGATION_LIFETIME_MAX_S)
        raise click.UsageError(f"--from {moment(given_s)} is more than {most} ahead.")
    return given_s


def _pool(
    context: click.Context, given: Mapping[str, Any], account: Address
) -> tuple[PoolRef, Answer | None]:
    """The pool, and what the agent says of it and of an account; None: nobody was asked."""
    typed = ParameterSource.COMMANDLINE
    if not given["offline"]:
        for name, option in (("config", "--config"), ("pool_id", "--pool")):
            if context.get_parameter_source(name) is typed:
                raise click.UsageError(f"{option} needs --offline: the agent says which pool.")
        client = AgentClient.of(found_agent(given["agent"]))
        held = client.access(address_text(account))
        void_s = max((one["revoked_before_s"] or 0 for one in held), default=0)
        return client.pool_ref(), {**client.pool(), "revoked_before_s": void_s}
    if context.get_parameter_source("agent") is typed or names_remote():
        raise click.UsageError("--offline asks no agent: leave --agent, --token-file, --ca out.")
    from p2pool.drivers.config.schema import load_chain, load_config

    found = config_file(given["config"], None)
    chain, number = load_chain(found.path, found.environment), given["pool_id"]
    if number is None:
        number = load_config(found.path, found.environment).pool.id
    return PoolRef(chain.id, chain.addresses.pool, number), None


def _check_grantor(signer: Address, account: Address, told: Answer | None) -> None:
    """Raises why a delegation by this account would give nothing."""
    if signer == account:
        raise click.UsageError("ACCOUNT is the one that signs: it needs no delegation by itself.")
    if told is None:
        return
    rulers = [told["creator"], told["manager"]]
    if rulers == [None, None]:
        raise Unavailable(
            "The agent has not read the chain yet, so it does not know who rules the pool.",
            hint=f"Try again in a moment. {_OFFLINE}",
        )
    if address_text(signer) not in rulers:
        raise NotAllowed(
            f"The key belongs to {address_text(signer)}, which is neither the pool's creator nor"
            " its manager: a delegation by it gives nothing.",
            hint=f"Sign with the key of one of them. If it will be one later: {_OFFLINE}",
        )


def _warn(account: Address, quota: Quota | None, told: Answer | None) -> None:
    """Say what makes a delegation needless, or of no use yet."""
    if told is None:
        return
    if address_text(account) in (told["creator"], told["manager"]):
        warn(f"{address_text(account)} rules the pool, and may do all this without a delegation.")
    if quota is not None and told["feature_level"] < DISTRUST_LEVEL:
        warn(
            f"the pool is at feature level {told['feature_level']}: nobody can use a delegation"
            f" with a quota before it is at {DISTRUST_LEVEL}. See who keeps it: p2pool pool show."
        )


def _signed(
    pool: PoolRef,
    delegation: Delegation,
    key: str | None,
    passphrase_file: str | None,
    told: Answer | None,
) -> DelegationFile:
    from p2pool.wire.typed_data import sign_delegation

    signer = opened_account(key, passphrase_file)
    address = unhex(signer.address, ADDRESS_BYTES)
    assert address is not None
    _check_grantor(Address(address), delegation.delegate, told)
    return DelegationFile(pool, Address(address), sign_delegation(pool, signer, delegation))


def _for_contract(
    pool: PoolRef, delegation: Delegation, contract: Address, owner: "Signer"
) -> DelegationFile:
    """The delegation of a contract account, by the key that owns it."""
    from p2pool.wire.typed_data import sign_delegation

    signed = attrs.evolve(sign_delegation(pool, owner, delegation), contract=contract)
    return DelegationFile(pool, contract, signed)


def _by_wallet(
    pool: PoolRef,
    delegation: Delegation,
    text: str,
    contract: Address | None,
    told: Answer | None,
) -> DelegationFile:
    """The delegation with a signature that was made elsewhere. A signature over other words is one
    by somebody whom nobody knows; a contract's only the chain can tell from any other bytes."""
    from p2pool.wire.typed_data import recover_delegation

    if contract is not None:
        from p2pool.cli.unsigned_file import read_signature

        signed = SignedDelegation(delegation, read_signature(text), contract)
        return DelegationFile(pool, contract, signed)
    signature = unhex(text, _SIGNATURE_BYTES)
    if signature is None:
        raise click.UsageError(f"--signature is not {_SIGNATURE_BYTES} bytes in hex.")
    signed = SignedDelegation(delegation, signature)
    grantor = recover_delegation(pool, signed)
    try:
        _check_grantor(grantor, delegation.delegate, told)
    except NotAllowed as error:
        raise BadSignature(
            f"The signature is neither by the pool's creator nor by its manager: by its words it is"
            f" {address_text(grantor)}'s.",
            hint="Give the options, and the --from, of the dry run that the wallet signed.",
        ) from error
    return DelegationFile(pool, grantor, signed)


def _hand_over(file: DelegationFile, out: Path | None, *, force: bool, as_json: bool) -> None:
    """Write it where it was asked for, and say what it gives."""
    if out is not None and not is_stdin(out):
        write_delegation(out, file, force=force)
    if as_json:
        write_json("delegation", delegation_file_json(file))
        return
    given = file.signed.delegation
    if out is None or is_stdin(out):
        click.echo(delegation_text(file), nl=False)
    said = [
        f"{address_text(given.delegate)} may {SCOPES[given.scope.name.lower()]}",
        f"in {pool_text(file.pool)}, until {moment(given.not_after_s)}.",
    ]
    if given.quota is not None:
        said.append(f"Quota: {quota_text(quota_json(given.quota))}.")
    if out is not None and not is_stdin(out):
        said.append(f"Give it {out}, to be named with --delegation or P2POOL_DELEGATION.")
    click.echo("\n".join(said), err=True)
