"""`p2pool access grant` writes what a delegate can use, and refuses what would be of no use."""

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import attrs
import pytest

from p2pool.cli.access.group import access
from p2pool.cli.shared.delegations.words import moment
from p2pool.cli.task.group import task
from p2pool.codec.json.delegations import read_delegation_file
from p2pool.model import limits
from p2pool.model.access.delegations import DelegationFile, Quota, Scope
from p2pool.model.errors import (
    BadKey,
    BadSignature,
    Conflict,
    Misconfigured,
    NotAllowed,
    Unavailable,
)
from p2pool.model.features import BASE_LEVEL
from p2pool.model.ids import Address, PoolRef
from p2pool.model.ports.agent import SubmitCommand
from p2pool.wire.account import checksummed
from p2pool.wire.typed_data import check_delegation_file
from tests.api.conftest import Served
from tests.api.fakes import TASK_ID
from tests.cli.access.people import (
    DELEGATE,
    DELEGATE_TEXT,
    MANAGER,
    NOBODY,
    key_file,
    ruled_by,
)
from tests.cli.command_tree import context_of
from tests.cli.output.held import held
from tests.cli.surroundings.files import write_settings
from tests.client.conftest import Commands
from tests.wire.samples import ACCOUNT, OTHER_ACCOUNT, POOL

LEAST = ("--scope", "submit", "--for", "30d")


def read(path: Path) -> DelegationFile:
    """What a file holds, with its signature checked."""
    file = read_delegation_file(path.read_bytes())
    check_delegation_file(file)
    return file


async def test_a_grant_is_a_file_that_works(
    served: Served, manager: Commands, tmp_path: Path
) -> None:
    """Each limit is in what was signed, and a request under it is taken by the agent."""
    path = tmp_path / "alice.json"
    limited = "--max-gpus 4 --max-cpus 1.5 --max-replicas 8 --max-priority 60 --name-prefix acme-"
    before_s = int(time.time())
    result = await manager(
        access, "grant", DELEGATE_TEXT, *LEAST, *limited.split(), "--out", str(path)
    )
    assert (result.exit_code, result.stdout) == (0, ""), result
    file = read(path)
    given = file.signed.delegation
    assert (file.pool, file.grantor) == (POOL, MANAGER)
    assert (given.delegate, given.scope) == (DELEGATE, Scope.SUBMIT)
    assert given.quota == Quota(4, 1500, max_replicas=8, max_priority=60, name_prefix="acme-")
    assert before_s <= given.not_before_s <= time.time()
    assert given.not_after_s - given.not_before_s == 30 * 86400
    for said in ("may run tasks", "4 GPUs, 1.5 CPUs and 8 copies at once", "acme-", str(path)):
        assert said in result.stderr, result.stderr
    mine = key_file(tmp_path, "delegate", OTHER_ACCOUNT)
    words = ("stop", TASK_ID.hex(), "--key", str(mine), "--delegation", str(path))
    assert (await manager(task, *words)).exit_code == 0
    (asked,) = served.port.asked
    assert isinstance(asked, SubmitCommand)
    assert asked.signed.delegation == file.signed


async def test_the_file_is_no_secret_and_nothing_else_is_left(
    manager: Commands, tmp_path: Path
) -> None:
    """Its rights are the umask's; there is no half-written one beside it."""
    place = tmp_path / "place"
    place.mkdir()
    old = os.umask(0o027)
    try:
        words = ("grant", DELEGATE_TEXT, *LEAST, "--out", str(place / "a.json"))
        assert (await manager(access, *words)).exit_code == 0
    finally:
        os.umask(old)
    (found,) = place.iterdir()
    assert stat.S_IMODE(found.stat().st_mode) == 0o640


@pytest.mark.parametrize("out", [(), ("--out", "-")])
async def test_without_a_file_it_is_written_to_standard_output(
    manager: Commands, out: tuple[str, ...]
) -> None:
    """Alone, so that it can be redirected; what it gives is said on standard error."""
    result = await manager(access, "grant", DELEGATE_TEXT, "--scope", "read", "--for", "1h", *out)
    assert result.exit_code == 0, result
    assert read_delegation_file(result.stdout_bytes).signed.delegation.quota is None
    assert "may read the log lines" in result.stderr


async def test_json_is_the_same_delegation_in_an_envelope(
    manager: Commands, tmp_path: Path
) -> None:
    """Which is read as a delegation file too."""
    path = tmp_path / "a.json"
    result = await manager(access, "grant", DELEGATE_TEXT, *LEAST, "--json", "--out", str(path))
    assert held(result.stdout) == json.loads(path.read_text())
    assert read_delegation_file(result.stdout_bytes) == read(path)
    assert result.stderr == ""


async def test_a_file_is_written_over_only_where_that_is_asked_for(
    manager: Commands, tmp_path: Path
) -> None:
    """Before the passphrase is read; a link is not followed either."""
    path, link = tmp_path / "a.json", tmp_path / "link.json"
    path.write_text("mine")
    link.symlink_to(tmp_path / "nowhere")
    silent = {**manager.environment, "P2POOL_PASSPHRASE_FILE": str(tmp_path / "none")}
    for out in (path, link):
        words = ("grant", DELEGATE_TEXT, *LEAST, "--out", str(out))
        error = (await attrs.evolve(manager, environment=silent)(access, *words)).exception
        assert isinstance(error, Conflict)
        assert "--force" in error.hint
    assert path.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    again = ("grant", DELEGATE_TEXT, *LEAST, "--out", str(path), "--force")
    assert (await manager(access, *again)).exit_code == 0
    assert read(path).grantor == MANAGER


async def test_a_place_that_cannot_be_written_is_named(manager: Commands, tmp_path: Path) -> None:
    """A directory that is not there."""
    words = ("grant", DELEGATE_TEXT, *LEAST, "--out", str(tmp_path / "none" / "a.json"))
    error = (await manager(access, *words)).exception
    assert isinstance(error, Misconfigured)
    assert "No such file or directory" in error.message


MISTYPED = checksummed(DELEGATE)[:-1] + ("0" if DELEGATE_TEXT[-1] != "0" else "1")
WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "no time": ((DELEGATE_TEXT, "--scope", "read"), "--for"),
    "no scope": ((DELEGATE_TEXT, "--for", "1h"), "--scope"),
    "another scope": ((DELEGATE_TEXT, "--scope", "write", "--for", "1h"), "admin"),
    "no time at all": ((DELEGATE_TEXT, "--scope", "read", "--for", "0"), "below 1m, the least"),
    "a bare number": ((DELEGATE_TEXT, "--scope", "read", "--for", "30"), "write 30d, 30h or 30m"),
    "years": ((DELEGATE_TEXT, "--scope", "read", "--for", "10y"), "is not a time such as"),
    "too long": ((DELEGATE_TEXT, "--scope", "read", "--for", "3650d"), "above 366d, the most"),
    "the past": ((DELEGATE_TEXT, "--scope", "read", "--for", "-1d"), "is not a time such as"),
    "too short": ((DELEGATE_TEXT, "--scope", "read", "--for", "1s"), "below 1m, the least"),
    "no address": (("alice", *LEAST), "is not an address: 0x and 40 hex digits"),
    "a name": (("alice.eth", *LEAST), "is not an address"),
    "half an address": ((DELEGATE_TEXT[:20], *LEAST), "is not an address"),
    "a mistyped address": ((MISTYPED, *LEAST), "its capitals do not fit its digits"),
    "nobody": (("0x" + "00" * 20, *LEAST), "zero address"),
    "oneself": (("0x" + MANAGER.hex(), *LEAST), "ACCOUNT is the one that signs"),
    "limits of nothing": (
        (DELEGATE_TEXT, "--scope", "read", "--for", "1h", "--max-gpus", "1"),
        "a quota limits nothing",
    ),
    "no copy": ((DELEGATE_TEXT, *LEAST, "--max-replicas", "0"), "below 1, the least"),
    "less than no GPU": ((DELEGATE_TEXT, *LEAST, "--max-gpus", "-1"), "below 0, the least"),
    "no processor": ((DELEGATE_TEXT, *LEAST, "--max-cpus", "0"), "not between 0.001"),
    "no priority": ((DELEGATE_TEXT, *LEAST, "--max-priority", "101"), "above 100, the most"),
    "no name": ((DELEGATE_TEXT, *LEAST, "--name-prefix", ""), "begins no name"),
    "capitals": ((DELEGATE_TEXT, *LEAST, "--name-prefix", "Acme"), "begins no name"),
    "a pool, online": ((DELEGATE_TEXT, *LEAST, "--pool", "3"), "--pool needs --offline"),
    "an agent, offline": (
        (DELEGATE_TEXT, *LEAST, "--offline", "--agent", "http://x"),
        "leave --agent, --token-file, --ca out",
    ),
    "a token, offline": (
        (DELEGATE_TEXT, *LEAST, "--offline", "--token-file", "x"),
        "leave --agent, --token-file, --ca out",
    ),
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_nobody_means_is_wrong_usage(
    manager: Commands, tmp_path: Path, what: str
) -> None:
    """Exit code 2 and how it is meant; nothing is signed."""
    words, said = WRONG[what]
    path = tmp_path / "a.json"
    result = await manager(access, "grant", *words, "--out", str(path))
    assert result.exit_code == 2, result
    assert said in " ".join(result.stderr.split()), result.stderr
    assert not path.exists()


async def test_it_shows_the_token_that_was_named(manager: Commands, tmp_path: Path) -> None:
    """As every command does: one that is not the agent's is refused."""
    file = tmp_path / "token"
    file.write_text("p2p-nobodys\n")
    file.chmod(0o600)
    words = ("grant", DELEGATE_TEXT, *LEAST, "--token-file", str(file))
    error = (await manager(access, *words)).exception
    assert isinstance(error, NotAllowed), error


@pytest.mark.parametrize("text", [checksummed(DELEGATE), DELEGATE_TEXT, DELEGATE_TEXT[2:].upper()])
async def test_an_address_is_taken_in_each_of_its_spellings(manager: Commands, text: str) -> None:
    """With its checksum, without one, and in capitals."""
    result = await manager(access, "grant", text, *LEAST, "--dry-run")
    assert json.loads(result.stdout)["message"]["delegate"].lower() == DELEGATE_TEXT


async def test_who_does_not_rule_the_pool_signs_nothing(
    served: Served, manager: Commands, tmp_path: Path
) -> None:
    """Before the passphrase where the key file says whose it is, else after; the creator may."""
    path = tmp_path / "a.json"
    for name, changed in (("stranger", {}), ("silent", {"address": None})):
        mine = key_file(tmp_path, name, NOBODY, **changed)
        words = ("grant", DELEGATE_TEXT, *LEAST, "--key", str(mine), "--out", str(path))
        error = (await manager(access, *words)).exception
        assert isinstance(error, NotAllowed), error
        assert "neither the pool's creator nor its manager" in error.message
        assert "--offline" in error.hint
    assert not path.exists()
    ruled_by(served, MANAGER, Address(b"q" * 20))
    assert (await manager(access, "grant", DELEGATE_TEXT, *LEAST)).exit_code == 0


async def test_an_agent_that_has_not_read_the_chain_is_no_judge(
    served: Served, manager: Commands
) -> None:
    """Unknown is never yes."""
    ruled_by(served, None)
    error = (await manager(access, "grant", DELEGATE_TEXT, *LEAST)).exception
    assert isinstance(error, Unavailable)
    assert "--offline" in error.hint


async def test_offline_nobody_is_asked(manager: Commands, tmp_path: Path) -> None:
    """The pool is that of the configuration, or another one of its chain; any key signs."""
    config = write_settings(tmp_path / "pool.toml", 5)
    mine = key_file(tmp_path, "stranger", NOBODY)
    gone = {**manager.environment, "P2POOL_AGENT": "http://127.0.0.1:9"}
    away = attrs.evolve(manager, environment=gone)
    for number, more in ((5, ()), (6, ("--pool", "6"))):
        path = tmp_path / f"{number}.json"
        words = ("--offline", "--config", str(config), "--key", str(mine), "--out", str(path))
        result = await away(access, "grant", DELEGATE_TEXT, *LEAST, *words, *more)
        assert result.exit_code == 0, result
        assert read(path).pool == PoolRef(31337, Address(b"\x01" * 20), number)


async def test_rights_that_are_there_already_are_noted(served: Served, manager: Commands) -> None:
    """Who rules the pool needs no delegation, but may get one: rulers change."""
    ruled_by(served, MANAGER, DELEGATE)
    result = await manager(access, "grant", DELEGATE_TEXT, *LEAST)
    assert result.exit_code == 0
    assert "warning: " + DELEGATE_TEXT in result.stderr


async def test_limits_that_the_pool_does_not_know_yet_are_noted(
    served: Served, manager: Commands
) -> None:
    """While an agent of the pool is older: what is signed under them would be refused."""
    served.port.seen = attrs.evolve(served.port.seen, feature_level=BASE_LEVEL)
    for words, noted in (((), False), (("--max-gpus", "1"), True)):
        result = await manager(access, "grant", DELEGATE_TEXT, *LEAST, *words)
        assert (result.exit_code, "feature level 1" in result.stderr) == (0, noted)


@pytest.mark.parametrize("limited", [False, True])
async def test_a_dry_run_shows_what_a_wallet_would(manager: Commands, limited: bool) -> None:
    """Typed data, without a key and without a file."""
    more = ("--max-gpus", "2") if limited else ()
    result = await manager(access, "grant", DELEGATE_TEXT, *LEAST, *more, "--dry-run", signs=False)
    typed: dict[str, Any] = json.loads(result.stdout)
    assert (typed["primaryType"], typed["message"]["scope"]) == ("Delegation", "submit")
    assert typed["domain"]["chainId"] == POOL.chain_id
    assert typed["message"].get("maxGpus") == ("2" if limited else None)
    told = held(
        (await manager(access, "grant", DELEGATE_TEXT, *LEAST, "--dry-run", "--json")).stdout
    )
    assert told["would_sign"]["primaryType"] == "Delegation"


async def test_a_wallet_s_signature_makes_the_same_file(
    served: Served, manager: Commands, tmp_path: Path
) -> None:
    """What a dry run shows is signed elsewhere, and comes back with the same options; what was
    signed for others is found."""
    begin = str(int(time.time()) - 5)
    words = ("grant", DELEGATE_TEXT, *LEAST, "--max-gpus", "2", "--from", begin)
    typed = json.loads((await manager(access, *words, "--dry-run", signs=False)).stdout)
    signature = "0x" + ACCOUNT.sign_typed_data(full_message=typed).signature.hex()
    path = tmp_path / "a.json"
    made = await manager(access, *words, "--signature", signature, "--out", str(path), signs=False)
    assert made.exit_code == 0, made
    assert read(path).grantor == MANAGER
    other = ("grant", DELEGATE_TEXT, *LEAST, "--max-gpus", "3", "--from", begin)
    error = (await manager(access, *other, "--signature", signature)).exception
    assert isinstance(error, BadSignature)
    assert "--from" in error.hint
    for wrong in (("--signature", "0x12"), ("--signature", signature, "--dry-run")):
        assert (await manager(access, *words, *wrong)).exit_code == 2
    late = await manager(access, "grant", DELEGATE_TEXT, *LEAST, "--signature", signature)
    assert "needs the --from" in " ".join(late.stderr.split())


async def test_it_may_begin_later(manager: Commands, tmp_path: Path) -> None:
    """At a date, in UTC, or a Unix time; not when it would be over, nor in the far future."""
    ahead_s = int(time.time()) + 86400
    for text in (str(ahead_s), moment(ahead_s).replace(" UTC", "Z").replace(" ", "T")):
        result = await manager(access, "grant", DELEGATE_TEXT, *LEAST, "--from", text, "--dry-run")
        message = json.loads(result.stdout)["message"]
        assert (message["notBefore"], message["notAfter"]) == (ahead_s, ahead_s + 30 * 86400)
    for text, said in (
        ("2020-01-01", "that is over already"),
        ("2900-01-01", "366d ahead"),
        ("tomorrow", "is not a time such as"),
        ("5", "is not a time such as"),
    ):
        result = await manager(access, "grant", DELEGATE_TEXT, *LEAST, "--from", text)
        assert (result.exit_code, said in " ".join(result.stderr.split())) == (2, True), text


async def test_without_a_key_it_says_how_to_name_one(manager: Commands) -> None:
    """As every command that signs."""
    error = (await manager(access, "grant", DELEGATE_TEXT, *LEAST, signs=False)).exception
    assert isinstance(error, Misconfigured)
    assert "--key FILE" in error.hint
    wrong = {**manager.environment, "P2POOL_KEY": str(manager.directory / "none.json")}
    error = (
        await attrs.evolve(manager, environment=wrong)(access, "grant", DELEGATE_TEXT, *LEAST)
    ).exception
    assert isinstance(error, BadKey)


def test_the_bounds_are_as_the_help_says() -> None:
    """A figure in a help text is the limit."""
    context = context_of(access, "access")
    command = access.get_command(context, "grant")
    assert command is not None
    help_text = " ".join(command.get_help(context_of(command, "grant", context)).split())
    assert f"{limits.DELEGATION_LIFETIME_MAX_S // 86400}d at most" in help_text
