"""`pool create` and `pool start` on a real chain: once, again, by others, and dry."""

from pathlib import Path

import attrs
import pytest
import trio

from p2pool.cli import errors
from p2pool.codec.json.hex import address_text
from p2pool.codec.text.data_uri import format_root, read_bootstrap, read_root, requirements
from p2pool.dev.chain.contracts import fund
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model import limits
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import (
    Conflict,
    Malformed,
    Misconfigured,
    NotAllowed,
    NotFound,
    TransactionFailed,
    Unavailable,
)
from p2pool.model.ids import Address, PoolRef
from p2pool.model.states import PoolStatus
from tests.api.conftest import Served
from tests.chain.harness import acts
from tests.cli.output.held import held
from tests.cli.shell import (
    FOUNDER,
    NEEDS,
    PEER,
    Shell,
    new_pool,
    write_config,
    write_key,
)
from tests.cli.shell import run as run_process

pytestmark = pytest.mark.chain

OTHER = f"0x{'ef' * 20}/{PEER}/{'cd' * 16}"
BOOTSTRAP = f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}"


async def test_create_makes_a_pending_pool_as_it_is_told(shell: Shell) -> None:
    """Each option is on the chain, and the number is printed."""
    manager = Address(b"\x11" * 20)
    words = ("--manager", address_text(manager), "--compute-limit", "5000", "--data-uri", NEEDS)
    made = await shell.done("create", "--name", "big", *words, "--bootstrap", BOOTSTRAP)
    info = await shell.world.chain.pool(made["pool_id"])
    assert (info.name, info.creator, info.manager) == ("big", shell.address, manager)
    assert (info.status, info.compute_limit, info.domain_id) == (PoolStatus.PENDING, 5000, 0)
    assert (requirements(info.data_uri), read_bootstrap(info.data_uri)) == (NEEDS, (BOOTSTRAP,))
    assert (made["manager"], made["data_uri"]) == (address_text(manager), info.data_uri)
    plain = await shell("create", "--name", "next")
    assert plain.stdout.splitlines()[0].split() == ["pool_id", str(made["pool_id"] + 1)]
    assert f"p2pool pool start {made['pool_id'] + 1}" in plain.stderr
    info = await shell.world.chain.pool(made["pool_id"] + 1)
    assert (info.manager, info.data_uri, info.compute_limit) == (shell.address, "", 0)


async def test_a_domain_that_does_not_exist_is_refused(shell: Shell) -> None:
    """With a sentence, and nothing is sent."""
    error, code = await shell.refused("create", "--name", "x", "--domain", "77")
    assert isinstance(error, TransactionFailed)
    assert ("There is no domain 77." in str(error), code) == (True, errors.REFUSED)
    assert await shell.nonce() == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--name", " "), "--name"),
        (("--name", "x" * 129), "--name"),
        (("--name", "x", "--domain", "-1"), "--domain"),
        (("--name", "x", "--manager", "0x12"), "40 hex digits"),
        (("--name", "x", "--bootstrap", "/ip4/127.0.0.1/tcp/4001"), "/p2p/"),
        (("--name", "x", "--bootstrap", "nowhere"), "/p2p/"),
        (("--name", "x", "--compute-limit", str(2**256)), "--compute-limit"),
    ],
)
async def test_wrong_words_are_wrong_usage(shell: Shell, words: tuple[str, ...], said: str) -> None:
    """Exit code 2, and the option is named; nothing is sent."""
    result = await shell("create", *words)
    assert (result.exit_code, said in result.stderr) == (errors.USAGE, True), result.output
    assert await shell.nonce() == 0


@pytest.mark.parametrize("uri", ["p2pool:root=1/x", "nothing", "a:b=" + "x" * 20_000])
async def test_a_bad_data_uri_is_refused(shell: Shell, uri: str) -> None:
    """A root is not smuggled in, and no pool gets a URI that no agent would read."""
    error, code = await shell.refused("create", "--name", "x", "--data-uri", uri)
    assert (type(error), code) == (Malformed, errors.REFUSED)


# --- start --------------------------------------------------------------------------------------


async def test_start_activates_and_writes_the_root_beside_all_other_pairs(shell: Shell) -> None:
    """What the pool asks of hardware, and keys of others, stand as they stood."""
    pool = await new_pool(shell, "--data-uri", f"{NEEDS};other:key=1;other:key=2")
    done = await shell.done("start", str(pool), "--founder", FOUNDER)
    assert (done["started"], done["root_written"], done["pool_id"]) == (True, True, pool)
    info = await shell.world.chain.pool(pool)
    assert info.status is PoolStatus.ACTIVE
    assert requirements(info.data_uri) == f"{NEEDS};other:key=1;other:key=2"
    root = read_root(info.data_uri)
    assert root is not None
    assert (root.epoch, root.founder, root.store_id) == (1, b"\xab" * 20, b"\xcd" * 16)
    assert (root.peer_key, root.previous) == (bytes(range(32)), None)
    assert done["root"] == format_root(root)


async def test_start_again_sends_nothing(shell: Shell) -> None:
    """And does what is missing where it was interrupted between its two transactions."""
    pool = await new_pool(shell)
    await shell.done("start", str(pool), "--founder", FOUNDER)
    sent, uri = await shell.nonce(), (await shell.world.chain.pool(pool)).data_uri
    again = await shell.done("start", str(pool), "--founder", FOUNDER)
    assert (again["started"], again["root_written"]) == (False, False)
    assert (await shell.nonce(), (await shell.world.chain.pool(pool)).data_uri) == (sent, uri)
    writer = KeyWriter(shell.world.chain.rpc, shell.account())
    await shell.world.chain.update_uri(writer, pool, NEEDS)
    # Nobody says whether a log lives; only who knows that none does goes on.
    error, code = await shell.refused("start", str(pool), "--founder", FOUNDER)
    assert (type(error), code, "--force" in str(error)) == (Unavailable, 5, True)
    half = await shell.done("start", str(pool), "--founder", FOUNDER, "--force")
    assert (half["started"], half["root_written"]) == (False, True)


async def test_another_founder_is_refused(shell: Shell) -> None:
    """Of the same epoch or a later one; what stands, stands, and a pending pool is not started."""
    pool = await new_pool(shell)
    await shell.done("start", str(pool), "--founder", FOUNDER)
    error, code = await shell.refused("start", str(pool), "--founder", OTHER)
    assert (type(error), code) == (Conflict, errors.REFUSED)
    assert "recover the pool" in str(error)
    writer = KeyWriter(shell.world.chain.rpc, shell.account())
    pending = await new_pool(shell)
    later = f"p2pool:root=2/{'ab' * 20}/{PEER}/{'cd' * 16}"
    await shell.world.chain.update_uri(writer, pending, later)
    error, _ = await shell.refused("start", str(pending), "--founder", FOUNDER)
    assert isinstance(error, Conflict)
    info = await shell.world.chain.pool(pending)
    assert (info.status, info.data_uri) == (PoolStatus.PENDING, later)


async def test_a_root_that_nobody_can_read_is_replaced_with_a_warning(shell: Shell) -> None:
    """It founds nothing; a URI too long to be read whole is left alone."""
    pool = await new_pool(shell)
    writer = KeyWriter(shell.world.chain.rpc, shell.account())
    await shell.world.chain.update_uri(writer, pool, f"{NEEDS};p2pool:root=1/nonsense")
    result = await shell("start", str(pool), "--founder", FOUNDER)
    assert (result.exit_code, "Replaced a root record" in result.stderr) == (0, True), result.output
    uri = (await shell.world.chain.pool(pool)).data_uri
    assert (read_root(uri) is not None, requirements(uri)) == (True, NEEDS)
    await shell.world.chain.update_uri(writer, pool, "a:b=" + "x" * limits.DATA_URI_MAX_BYTES)
    error, _ = await shell.refused("start", str(pool), "--founder", FOUNDER)
    assert isinstance(error, Malformed)


async def test_only_creator_and_manager_start(shell: Shell, tmp_path: Path) -> None:
    """The manager may; a stranger is told who could; nothing of theirs is sent."""
    manager_key, manager = write_key(tmp_path, "manager.json")
    await fund(shell.world.chain.rpc, manager)
    pool = await new_pool(shell, "--manager", address_text(manager))
    stranger_key, _ = write_key(tmp_path, "stranger.json")
    words = ("start", str(pool), "--founder", FOUNDER, "--key")
    error, code = await shell.refused(*words, str(stranger_key))
    assert (type(error), code, address_text(manager) in str(error)) == (NotAllowed, 3, True)
    done = await shell.done(*words, str(manager_key))
    assert done["started"]


async def test_an_ended_or_unknown_pool_does_not_start(shell: Shell) -> None:
    """Each with its own exit code."""
    pool = await new_pool(shell)
    await shell.done("start", str(pool), "--founder", FOUNDER)
    writer = KeyWriter(shell.world.chain.rpc, shell.account())
    await acts.end_pool(shell.world.chain, writer, pool)
    error, code = await shell.refused("start", str(pool), "--founder", FOUNDER)
    assert (type(error), code, "has ended" in str(error)) == (Conflict, errors.REFUSED, True)
    error, code = await shell.refused("start", "999", "--founder", FOUNDER)
    assert (type(error), code) == (NotFound, errors.NOT_FOUND)


@pytest.mark.parametrize("founder", ["x", f"0x12/{PEER}/{'cd' * 16}", f"{'ab' * 20}/{PEER}/cd"])
async def test_a_founder_that_is_none_is_wrong_usage(shell: Shell, founder: str) -> None:
    """The part that is wrong is named."""
    result = await shell("start", "0", "--founder", founder)
    assert (result.exit_code, "--founder" in result.stderr) == (errors.USAGE, True), result.output


async def test_the_running_agent_is_the_founder(shell: Shell, served: Served) -> None:
    """Asked at its API, for the pool of the configuration; one of another pool is refused."""
    pool = await new_pool(shell)
    write_config(shell.config, shell.world, shell.world.chain.rpc.endpoints[0].url, pool)
    error, code = await shell.refused("start")
    assert (isinstance(error, Unavailable), code) == (True, errors.UNAVAILABLE)
    agent = ("--agent", str(served.directory))
    error, code = await shell.refused("start", *agent)
    assert (type(error), code) == (Misconfigured, errors.MISCONFIGURED)
    assert f"not in pool {pool}" in str(error)
    ref = PoolRef(shell.world.chain.rpc.chain_id, shell.world.chain.at.pool, pool)
    served.port.seen = attrs.evolve(served.port.seen, pool=ref)
    done = await shell.done("start", *agent)
    seen = served.port.seen
    root = read_root((await shell.world.chain.pool(pool)).data_uri)
    assert root == RootRecord(1, seen.node_id, seen.peer_key, seen.store_id)
    assert done["founder"] == address_text(seen.node_id)


# --- both ---------------------------------------------------------------------------------------


async def test_a_dry_run_says_what_it_would_send_and_needs_no_passphrase(shell: Shell) -> None:
    """Nothing is sent, and nothing is signed."""
    pool = await new_pool(shell)
    sent = await shell.nonce()
    shell.environment["P2POOL_PASSPHRASE_FILE"] = str(shell.key.with_name("none"))
    made = await shell.done("create", "--name", "dry", "--dry-run")
    assert "would call ComputePool.createComputePool" in made["would_send"][0]
    words = ("start", str(pool), "--founder", FOUNDER, "--dry-run")
    first, second = (await shell.done(*words))["would_send"]
    assert "startComputePool" in first
    assert "updateComputePoolURI" in second
    assert "p2pool:root=1/" in second
    assert all("; calldata 0x" in one and "; value 0; gas " in one for one in (first, second))
    plain = await shell(*words)
    assert plain.stdout.splitlines() == [first, second]
    assert await shell.nonce() == sent
    assert (await shell.world.chain.pool(pool)).status is PoolStatus.PENDING


async def test_a_chain_that_does_not_answer_is_unavailable(shell: Shell) -> None:
    """Not refused and not misconfigured: it may work later."""
    write_config(shell.config, shell.world, "http://127.0.0.1:1")
    error, code = await shell.refused("create", "--name", "x")
    assert (isinstance(error, Unavailable), code) == (True, errors.UNAVAILABLE)


async def test_the_environment_alone_says_which_chain(shell: Shell, tmp_path: Path) -> None:
    """Where there is no file, and no pool yet; as a process, with its exit codes."""
    at = shell.world.chain.at
    addresses = (at.network, at.pool, at.registry, at.stakes, at.domains, at.token)
    names = ("NETWORK", "POOL", "REGISTRY", "STAKE", "DOMAINS", "TOKEN")
    said = {f"ADDRESSES__{n}": address_text(a) for n, a in zip(names, addresses, strict=True)}
    said["ID"], said["ENDPOINTS"] = "31337", shell.world.chain.rpc.endpoints[0].url
    shell.environment.update({f"P2POOL_CHAIN__{name}": text for name, text in said.items()})
    shell.environment["P2POOL_CONFIG"] = str(tmp_path / "none.toml")
    assert (await shell.done("create", "--name", "x"))["chain_id"] == 31337
    error, code = await shell.refused("start", "--founder", FOUNDER)
    assert (type(error), code) == (Misconfigured, errors.MISCONFIGURED)
    done = await trio.to_thread.run_sync(
        lambda: run_process("pool", "create", "--name", "x", "--config", "/none", "--json")
    )
    assert (done.returncode, done.stdout) == (errors.MISCONFIGURED, "")
    assert held(done.stderr)["code"] == "misconfigured"
