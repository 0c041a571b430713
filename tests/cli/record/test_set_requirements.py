"""`pool set-requirements` changes what a pool asks of machines, and nothing else."""

import pytest

from p2pool.cli import errors
from p2pool.codec.text.data_uri import read_root, requirements, with_root
from p2pool.codec.text.requirements import refusals
from p2pool.drivers.chain.founding import founder_of
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.errors import Conflict, Malformed, NotAllowed, NotFound
from tests.chain.harness import acts
from tests.cli.shell import FOUNDER, NEEDS, Shell, new_pool, write_key

pytestmark = pytest.mark.chain

WANTED = "gpu:count=4;gpu:model=a100;gpu:count=2;gpu:model=h100;ram_mb=64000"


async def uri_of(shell: Shell, pool: int) -> str:
    return (await shell.world.chain.pool(pool)).data_uri


async def write(shell: Shell, pool: int, uri: str) -> None:
    await shell.world.chain.update_uri(KeyWriter(shell.world.chain.rpc, shell.account()), pool, uri)


async def test_requirements_change_and_the_rest_stands(shell: Shell) -> None:
    """Root record, bootstrap and keys of others; a second time sends nothing."""
    pool = await new_pool(shell, "--data-uri", f"{NEEDS};p2pool:later=1")
    await shell.done("start", str(pool), "--founder", FOUNDER)
    root = read_root(await uri_of(shell, pool))
    assert root is not None
    words = ("set-requirements", " gpu:count = 4 ;" + WANTED[12:] + ";", "--pool", str(pool))
    done = await shell.done(*words)
    assert (done["before"], done["requirements"], done["changed"]) == (NEEDS, WANTED, True)
    uri = await uri_of(shell, pool)
    assert (requirements(uri), read_root(uri), "p2pool:later=1" in uri) == (WANTED, root, True)
    sent = await shell.nonce()
    assert not (await shell.done(*words))["changed"]
    assert await shell.nonce() == sent
    plain = await shell("set-requirements", "", "--pool", str(pool))
    assert plain.exit_code == 0, plain.output
    assert requirements(await uri_of(shell, pool)) == ""
    assert read_root(await uri_of(shell, pool)) == root


async def test_it_says_what_it_would_send(shell: Shell) -> None:
    """And reads back what it means in words."""
    pool = await new_pool(shell, "--data-uri", NEEDS)
    dry = await shell.done("set-requirements", WANTED, "--pool", str(pool), "--dry-run")
    assert f"updateComputePoolURI({pool}, '{WANTED}')" in dry["would_send"][0]
    assert await uri_of(shell, pool) == NEEDS
    plain = await shell("set-requirements", WANTED, "--pool", str(pool))
    assert "(4 GPUs, a100) or (2 GPUs, h100)" in " ".join(plain.stdout.split())


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("gpu_model=xyz", "no key of theirs"),
        ("gpu:count=many", "not a number"),
        ("gpu:memory_mb_min=2;gpu:memory_mb_max=1", "above"),
        ("ram_mb=4294967296", "4294967295"),
        ("gpu:count=1;p2pool:root=x", "own pairs"),
        ("a=" + "x" * 20_000, "no key of theirs"),
    ],
)
async def test_what_nobody_else_would_read_is_refused(shell: Shell, wanted: str, said: str) -> None:
    """Before anything is sent; --force writes what agents of ours can read."""
    pool = await new_pool(shell, "--data-uri", NEEDS)
    sent = await shell.nonce()
    error, code = await shell.refused("set-requirements", wanted, "--pool", str(pool))
    assert (type(error), code, said in str(error)) == (Malformed, errors.REFUSED, True), error
    assert await shell.nonce() == sent
    done = await shell("set-requirements", wanted, "--pool", str(pool), "--force")
    forced = wanted.startswith(("gpu_model", "ram_mb"))
    assert (done.exit_code == 0) is forced, done.exception
    assert await uri_of(shell, pool) == (wanted if forced else NEEDS)


async def test_keys_of_others_are_kept_and_named(shell: Shell) -> None:
    """They cost other tools all requirements, so there is a word that takes them out."""
    pool = await new_pool(shell)
    await write(shell, pool, "other:key=1;ram_mb=1;gpu_model=x")
    done = await shell("set-requirements", NEEDS, "--pool", str(pool))
    assert "Kept other:key=1, gpu_model=x" in done.stderr
    assert await uri_of(shell, pool) == f"{NEEDS};other:key=1;gpu_model=x"
    done = await shell("set-requirements", NEEDS, "--pool", str(pool), "--drop-unknown")
    assert (done.exit_code, "Kept" in done.stderr) == (0, False)
    assert (await uri_of(shell, pool), refusals(await uri_of(shell, pool))) == (NEEDS, ())


async def test_a_data_uri_that_is_too_long_is_mended(shell: Shell) -> None:
    """It is the hint of every command and agent that cannot read it."""
    pool = await new_pool(shell)
    root = founder_of(FOUNDER)
    await write(shell, pool, with_root("", root) + ";x=" + "y" * 20_000)
    error, _ = await shell.refused("set-requirements", NEEDS, "--pool", str(pool))
    assert "at most 16384 bytes" in str(error)
    await shell.done("set-requirements", NEEDS, "--pool", str(pool), "--drop-unknown")
    assert await uri_of(shell, pool) == with_root(NEEDS, root)


async def test_who_may_change_them(shell: Shell) -> None:
    """Creator and manager, of a pool that is there and has not ended."""
    pool = await new_pool(shell, "--data-uri", NEEDS)
    stranger, _ = write_key(shell.key.parent, "stranger.json")
    words = ("set-requirements", WANTED, "--pool", str(pool))
    error, code = await shell.refused(*words, "--key", str(stranger))
    assert (type(error), code) == (NotAllowed, errors.REFUSED)
    error, _ = await shell.refused("set-requirements", WANTED, "--pool", "999")
    assert isinstance(error, NotFound)
    await shell.done("start", str(pool), "--founder", FOUNDER)
    writer = KeyWriter(shell.world.chain.rpc, shell.account())
    await acts.end_pool(shell.world.chain, writer, pool)
    error, _ = await shell.refused(*words)
    assert isinstance(error, Conflict)
