"""Another peer key for a node that stays the same: its directory changes whole or not at all."""

from pathlib import Path
from random import Random

import pytest
import trio
from click.testing import CliRunner
from nacl.signing import SigningKey

from p2pool.agent.agent import run_agent
from p2pool.agent.options import AgentOptions
from p2pool.agent.wire import peer_rotation
from p2pool.agent.wire.peer_rotation import rotate_peer_key
from p2pool.cli import main
from p2pool.codec.digests import digest
from p2pool.codec.json.hex import address_text
from p2pool.codec.text.peer_id import peer_id
from p2pool.core.log.pool_log import PoolLog
from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.config.schema import write_config
from p2pool.drivers.keys import keystore
from p2pool.drivers.store.store import Store
from p2pool.model.errors import BadKey, Conflict, DataDirInUse, NotFound
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import Address, Digest, PeerKey
from p2pool.model.log.raft import HardState
from p2pool.model.ports.store import SECRET_BLOBS_TABLE, SECRET_KEYS_TABLE, Put
from p2pool.model.tasks.secrets import NamedValue, SealedKey, SecretContents, SecretOwner
from p2pool.model.timing import Now
from p2pool.wire import sealed_box
from tests.agent.lone_voter import STEP
from tests.cli.output.held import held
from tests.core.log.founded_log import ME, POOL, ROOT, setting
from tests.first_run.harness.configuration import config_of

OWNER = SecretOwner(POOL, Address(b"\x33" * 20), request_id=b"r" * 32)
CONTENTS = SecretContents((NamedValue("db", b"correct horse"),), "user", "word")


async def lived(options: AgentOptions) -> None:
    """An agent's run to its start, and to its end."""
    stop = trio.Event()
    with trio.fail_after(60):
        await run_agent(options, stop, lambda url: stop.set())


def peer_of(directory: Path) -> str:
    """The peer of a directory as it is now."""
    return peer_id(keystore.peer_key_of((directory / "peer.key").read_bytes()))


async def test_an_agent_starts_as_another_peer_and_the_same_node(tmp_path: Path) -> None:
    """By the command, with the agent stopped; while it runs it is refused."""
    directory, node = tmp_path / "data", new_account()
    options = AgentOptions(directory, config_of(), node, skip_checks=True)
    stop, begun = trio.Event(), trio.Event()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_agent, options, stop, lambda url: begun.set())
            await begun.wait()
            with pytest.raises(DataDirInUse):
                await rotate_peer_key(directory, config_of().pool_ref)
            stop.set()
    before = peer_of(directory)
    write_config(config_of(), config := tmp_path / "config.toml")
    words = ["node", "rotate-peer-key", "--data-dir", str(directory), "--config", str(config)]
    result = await trio.to_thread.run_sync(lambda: CliRunner().invoke(main.cli, [*words, "--json"]))
    assert result.exit_code == 0, (result.output, result.exception)
    told = held(result.stdout)
    assert (told["old"], told["new"]) == (before, peer_of(directory))
    assert told["node_id"] == address_text(bytes.fromhex(node.address[2:]))
    assert before != peer_of(directory)
    assert (directory / "peer.key").stat().st_mode & 0o777 == 0o600
    await lived(options)


async def founded(directory: Path) -> SigningKey:
    """A directory whose node has founded a log alone, and holds a secret sealed to its key."""
    key = SigningKey(keystore.load_or_make_peer_seed(directory))
    async with Store.open(directory, POOL, node_id=ME.node_id) as store:
        log = PoolLog(ME, POOL, Random(1))
        log.restore(store.restored, Now(0, 0))
        log.follow_root(ROOT, Now(0, 0))
        log.tick(Now(10_000, 10_000))
        log.propose(*setting("kept"), STEP)
        await store.write(tuple(log.take_persist()))
        to = (ME.node_id, PeerKey(bytes(key.verify_key)))
        blob = sealed_box.encrypt(CONTENTS, OWNER, sealed_box.new_data_key(), [to])
        data = sealed_box.blob_bytes(blob)
        name = bytes(digest(data))
        await store.write((Put(SECRET_BLOBS_TABLE, name, data, DISTRUST_LEVEL),))
    return key


async def test_a_lone_voter_keeps_its_key(tmp_path: Path) -> None:
    """Its log would have nobody to go on with; who insists is obeyed, and nothing is lost."""
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    old = await founded(directory)
    with pytest.raises(Conflict, match="no other voter"):
        await rotate_peer_key(directory, POOL)
    assert keystore.load_peer_seed(directory) == bytes(old)
    assert not (directory / keystore.NEXT_PEER_SEED_NAME).exists()
    async with Store.open(directory, POOL) as store:
        before = store.restored
    done = await rotate_peer_key(directory, POOL, force=True)
    assert (done.node_id, done.voters, done.secrets) == (ME.node_id, 1, 1)
    new = SigningKey(keystore.load_peer_seed(directory))
    assert (done.old, done.new) == (bytes(old.verify_key), bytes(new.verify_key))
    async with Store.open(directory, POOL) as store:
        after = store.restored
    assert after.store_id != before.store_id
    assert (after.hard_state, after.log_id) == (HardState(), before.log_id)
    assert (after.entries, after.snapshot) == (before.entries, before.snapshot)
    (name,) = after.tables[SECRET_BLOBS_TABLE]
    assert set(after.tables[SECRET_KEYS_TABLE]) == {name}
    node = peer_rotation._node(POOL, ME.node_id, new, after)
    key = node.context.secrets.key_for(Digest(name), ME.node_id, done.new)
    blob = node.context.secrets.blob(Digest(name))
    assert key is not None
    assert blob is not None
    data_key = sealed_box.open_key(key, blob, OWNER, new)
    assert sealed_box.decrypt(blob, OWNER, data_key) == CONTENTS


async def test_an_interrupted_rotation_is_ended_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then no agent starts: its store belongs to the next key already."""
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    await founded(directory)

    def dies(_: Path) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(keystore, "take_next_peer_seed", dies)
    with pytest.raises(ZeroDivisionError):
        await rotate_peer_key(directory, POOL, force=True)
    monkeypatch.undo()
    next_seed = (directory / keystore.NEXT_PEER_SEED_NAME).read_bytes()
    with pytest.raises(BadKey, match="interrupted") as told:
        keystore.load_or_make_peer_seed(directory)
    assert "rotate-peer-key" in told.value.hint
    await rotate_peer_key(directory, POOL, force=True)
    assert keystore.load_or_make_peer_seed(directory) == next_seed


async def test_a_directory_without_an_agent_is_left_alone(tmp_path: Path) -> None:
    """Nothing is made there."""
    with pytest.raises(NotFound):
        await rotate_peer_key(tmp_path, POOL)
    assert list(tmp_path.iterdir()) == []


def test_only_what_was_sealed_to_the_key_is_sealed_again() -> None:
    """Another's stays as it is."""
    old, new, other = (SigningKey(bytes([number]) * 32) for number in (1, 2, 3))
    blob = sealed_box.encrypt(
        CONTENTS,
        OWNER,
        sealed_box.new_data_key(),
        [(ME.node_id, PeerKey(bytes(old.verify_key)))],
    )
    to = (ME.node_id, PeerKey(bytes(new.verify_key)))
    again = sealed_box.seal_again(blob.keys[0], old, to)
    assert isinstance(again, SealedKey)
    assert (again.node_id, again.peer_key) == to
    assert sealed_box.open_key(again, blob, OWNER, new)
    assert sealed_box.seal_again(blob.keys[0], other, to) is None
