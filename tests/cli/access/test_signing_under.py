"""Whatever is signed is signed under the delegation that was named, or not at all."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import click
import pytest

from p2pool.cli.node.group import node
from p2pool.cli.pool.group import pool
from p2pool.cli.task.group import task
from p2pool.cli.wallet import wallet
from p2pool.model.access.delegations import Quota
from p2pool.model.errors import (
    BadSignature,
    Malformed,
    Misconfigured,
    NotAllowed,
    NotForUs,
    P2poolError,
    Stale,
)
from p2pool.model.ids import Address, PoolRef
from p2pool.model.messages.task_streams import LogChunk
from p2pool.model.ports.agent import SubmitCommand
from p2pool.wire.typed_data import recover_signers
from tests.api.conftest import Served
from tests.api.fakes import OTHER_NODE, TASK_ID
from tests.cli.access.people import (
    DELEGATE,
    DELEGATE_TEXT,
    MANAGER,
    NOBODY,
    delegation_file,
    key_file,
)
from tests.cli.command_tree import every_leaf
from tests.client.conftest import Commands
from tests.wire.samples import OTHER_ACCOUNT, POOL

ID = TASK_ID.hex()
NODE = "0x" + OTHER_NODE.hex()

_TRANSACTIONS = (
    "node deregister",
    "node register",
    "pool blacklist node",
    "pool blacklist provider",
    "pool create",
    "pool eject",
    "pool end",
    "pool join",
    "pool leave",
    "pool move",
    "pool purge",
    "pool recover",
    "pool rejoin",
    "pool root",
    "pool set-limit",
    "pool set-requirements",
    "pool start",
    "provider claim",
    "provider deregister",
    "provider register",
    "provider stake add",
    "provider stake reclaim",
    "provider submit-work",
    "provider withdraw",
    "validator blacklist",
    "validator invalidate",
    "validator invalidate-work",
    "validator slash",
    "validator validate",
    "validator whitelist",
)

ITS_OWN = {
    **dict.fromkeys(_TRANSACTIONS, "a transaction: the chain knows no delegation"),
    "validator check": "a validator's own word: the chain gives its role to an account",
    "validator run": "a validator's own word: the chain gives its role to an account",
    "node rekey": "a transaction, and a drain by the node's own provider",
    "provider status": "it signs nothing: the key says whose account is meant",
    "pool invite": "the chain's contract judges an invite, and knows no delegation",
    "access grant": "a delegate gives no rights on: what it signed would give none",
}
"""What signs without --delegation, and why."""


def signing() -> Iterator[tuple[str, click.Command]]:
    """The commands that sign: each takes a key."""
    for name, command in every_leaf():
        options = {option for one in command.params for option in one.opts}
        if "--key" in options:
            yield name, command


@pytest.mark.parametrize(("name", "command"), list(signing()), ids=lambda part: str(part)[:40])
def test_whatever_signs_takes_a_delegation(name: str, command: click.Command) -> None:
    """A command without it would sign for oneself what was meant for another: a new one takes
    `signer_options`, or says here why nobody can sign it for another."""
    found = [one for one in command.params if "--delegation" in one.opts]
    assert bool(found) != (name in ITS_OWN), name
    for one in found:
        assert one.envvar == "P2POOL_DELEGATION", name


def test_the_list_of_what_signs_alone_names_commands_that_sign() -> None:
    """And both kinds are many."""
    names = {name for name, _ in signing()}
    assert set(ITS_OWN) <= names
    assert len(names - set(ITS_OWN)) >= 9


REQUESTS: dict[str, tuple[click.Command, tuple[str, ...]]] = {
    "task run": (task, ("run", "--image", "busybox")),
    "task stop": (task, ("stop", ID)),
    "node drain": (node, ("drain", NODE)),
    "node ban": (node, ("ban", NODE)),
    "pool set": (pool, ("set", "timing", "lan")),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_carries_the_delegation(
    served: Served, delegate: Commands, name: str
) -> None:
    """The delegate signs, and the manager is whose rights count."""
    group, words = REQUESTS[name]
    result = await delegate(group, *words)
    assert result.exit_code == 0, result
    (asked,) = served.port.asked
    assert isinstance(asked, SubmitCommand)
    signers = recover_signers(POOL, asked.signed)
    assert (signers.signer, signers.grantor) == (DELEGATE, MANAGER)


async def test_log_lines_are_read_under_it(served: Served, delegate: Commands) -> None:
    """The grant that the node judges carries the delegation."""
    served.port.logs.chunks = [LogChunk(1, 0, b"hello\n")]
    result = await delegate(task, "logs", ID)
    assert (result.exit_code, result.stdout) == (0, "hello\n"), result
    ((_, _, grant),) = served.port.logs.opened
    signers = recover_signers(POOL, grant)
    assert (signers.signer, signers.grantor) == (DELEGATE, MANAGER)


async def test_reads_need_no_delegation(delegate: Commands, tmp_path: Path) -> None:
    """What anybody with the agent's token may see is not signed: a file that is not there does not
    keep a delegate from looking."""
    away = attrs.evolve(
        delegate, environment=delegate.environment | {"P2POOL_DELEGATION": str(tmp_path / "none")}
    )
    for group, words in ((task, ("ls",)), (node, ("ls",)), (pool, ("show",))):
        assert (await away(group, *words)).exit_code == 0, words


@pytest.mark.parametrize("how", ["an option", "an empty variable"])
async def test_nothing_named_signs_for_oneself(
    served: Served, delegate: Commands, how: str
) -> None:
    """An empty option takes back what the variable says; an empty variable is none."""
    words = ["stop", ID, *(["--delegation", ""] if how == "an option" else [])]
    variable = {} if how == "an option" else {"P2POOL_DELEGATION": ""}
    alone = attrs.evolve(delegate, environment=delegate.environment | variable)
    assert (await alone(task, *words)).exit_code == 0
    (asked,) = served.port.asked
    assert isinstance(asked, SubmitCommand)
    assert (asked.signer, asked.signed.delegation) == (DELEGATE, None)


async def test_an_unlocked_key_signs_under_it_too(
    served: Served, delegate: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The delegation is sent beside the signature; the process that holds the key never sees it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert (await delegate(wallet, "unlock", "--for", "5m")).exit_code == 0
    environment = {k: v for k, v in delegate.environment.items() if "PASSPHRASE" not in k}
    unlocked = attrs.evolve(delegate, environment=environment)
    try:
        result = await unlocked(task, "stop", ID)
        assert result.exit_code == 0, result
    finally:
        await delegate(wallet, "lock")
    (asked,) = served.port.asked
    assert isinstance(asked, SubmitCommand)
    assert recover_signers(POOL, asked.signed).grantor == MANAGER


def _edited(path: Path) -> None:
    held = json.loads(path.read_text())
    held["delegation"]["scope"] = "admin"
    path.write_text(json.dumps(held))


def _no_quota(path: Path) -> None:
    delegation_file(path, quota=Quota(max_gpus=1))
    held = json.loads(path.read_text())
    del held["delegation"]["quota"]
    path.write_text(json.dumps(held))


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


def _of_another_contract(path: Path) -> None:
    pool = PoolRef(POOL.chain_id, Address(b"d" * 20), POOL.pool_id)
    delegation_file(path, pool=pool)


BAD: dict[str, tuple[Callable[[Path], object], type[P2poolError], str]] = {
    "of another pool": (
        lambda path: delegation_file(path, pool=PoolRef(31337, POOL.contract, 2)),
        NotForUs,
        "is for pool 2 of",
    ),
    "of another contract": (_of_another_contract, NotForUs, "the agent is in pool 1 of"),
    "expired": (
        lambda path: delegation_file(path, begin_s=-7200, end_s=-3700),
        Stale,
        "expired 1h ago",
    ),
    "not yet in force": (
        lambda path: delegation_file(path, begin_s=7900, end_s=9000),
        Stale,
        "takes effect in 2h",
    ),
    "of another account": (
        lambda path: delegation_file(path, to=Address(b"x" * 20)),
        NotAllowed,
        "is made out to 0x7878",
    ),
    "edited": (_edited, BadSignature, "was not signed by"),
    "without its quota": (_no_quota, BadSignature, "was not signed by"),
    "a directory": (_directory, Misconfigured, "Is a directory"),
    "a link to nothing": (_dangling, Misconfigured, "No such file"),
    "empty": (lambda path: path.write_text("\n"), Malformed, "is empty"),
    "binary": (lambda path: path.write_bytes(os.urandom(100) + b"\xff"), Malformed, "is not JSON"),
    "huge": (lambda path: path.write_bytes(b" {" * 10**6), Malformed, "bytes at most"),
    "other JSON": (lambda path: path.write_text("[]"), Malformed, "is not an object"),
    "a key file": (
        lambda path: path.write_text(json.dumps({"version": 3, "crypto": {}})),
        Malformed,
        "unknown key 'crypto'",
    ),
}


@pytest.mark.parametrize("how", BAD)
async def test_a_delegation_that_is_no_use_is_refused_before_the_passphrase(
    served: Served, delegate: Commands, tmp_path: Path, how: str
) -> None:
    """With what is wrong and what to do; nothing is sent, and nobody is asked for a passphrase."""
    path = tmp_path / "given.json"
    spoil, kind, said = BAD[how]
    spoil(path)
    # Where the passphrase was read, its file would be missed first.
    environment = delegate.environment | {"P2POOL_PASSPHRASE_FILE": str(tmp_path / "none")}
    asking = attrs.evolve(delegate, environment=environment)
    for words in (("stop", ID), ("logs", ID), ("stop", ID, "--dry-run")):
        error = (await asking(task, *words)).exception
        assert isinstance(error, kind), (words, error)
        assert said in error.message, error.message
        assert error.hint
    assert (served.port.asked, served.port.logs.opened) == ([], [])


async def test_a_key_that_does_not_say_whose_it_is_is_judged_once_open(
    served: Served, delegate: Commands, tmp_path: Path
) -> None:
    """Some wallets leave the address out of the file."""
    for name, account in (("silent", OTHER_ACCOUNT), ("other", NOBODY)):
        path = key_file(tmp_path, name, account, address=None)
        result = await delegate(task, "stop", ID, "--key", str(path))
        assert (result.exit_code == 0) == (account is OTHER_ACCOUNT), result
        assert result.exit_code == 0 or isinstance(result.exception, NotAllowed)
    assert len(served.port.asked) == 1


async def test_a_link_and_standard_input_are_read(
    served: Served, delegate: Commands, tmp_path: Path
) -> None:
    """As any other file; a key that comes from there too is told."""
    path = tmp_path / "given.json"
    (tmp_path / "link.json").symlink_to(path)
    result = await delegate(task, "stop", ID, "--delegation", str(tmp_path / "link.json"))
    assert result.exit_code == 0, result
    asked = served.port.asked.pop()
    assert isinstance(asked, SubmitCommand)
    assert asked.signed.delegation is not None


async def test_a_task_that_nobody_named_begins_as_the_quota_says(
    served: Served, delegate: Commands, tmp_path: Path
) -> None:
    """The default name is the image's, behind the prefix; a name that was given stays,
    and is refused."""
    delegation_file(tmp_path / "given.json", quota=Quota(name_prefix="acme-"))
    for words, name in (
        (("--image", "busybox"), "acme-busybox"),
        (("--image", "acme-x"), "acme-x"),
    ):
        assert (await delegate(task, "run", *words)).exit_code == 0
        asked = served.port.asked.pop()
        assert isinstance(asked, SubmitCommand)
        assert json.loads(asked.signed.request.spec_json)["name"] == name
    error = (await delegate(task, "run", "--image", "a", "--name", "mine")).exception
    assert isinstance(error, NotAllowed)
    assert "'mine' does not begin with 'acme-'" in error.message
    assert served.port.asked == []


async def test_a_dry_run_shows_what_the_delegate_would_sign(delegate: Commands) -> None:
    """Without its passphrase; the delegation is no part of what is signed."""
    result = await delegate(task, "stop", ID, "--dry-run")
    assert json.loads(result.stdout)["primaryType"] == "TaskRequest"
    assert DELEGATE_TEXT not in result.stdout
