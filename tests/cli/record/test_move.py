"""`pool root --move` takes a pool's record out of its data URI; the commands go on from there."""

import attrs
import pytest

from p2pool.cli import errors
from p2pool.codec.digests import log_id
from p2pool.codec.text.data_uri import format_root, with_root
from p2pool.codec.text.requirements import refusals
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model import features
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import Conflict, NotAllowed
from p2pool.model.features import BASE_LEVEL
from p2pool.model.ids import NodeId, PoolRef, StateDigest
from p2pool.model.log.certificates import CommitteeChain, LeaderProof
from p2pool.model.log.raft import LogEnd, Voter
from p2pool.model.ports.agent import LogEnds, LogHolder
from tests.api.conftest import Served
from tests.cli.plans.sent import agrees, nothing_left
from tests.cli.shell import FOUNDER, NEEDS, PEER, Shell, new_pool, write_key

pytestmark = pytest.mark.chain

BOOTSTRAP = f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}"
PAIR = f"p2pool:bootstrap={BOOTSTRAP}"


@attrs.frozen
class Founded:
    """A pool that was founded before its chain had PoolRoot, and an agent that follows its log."""

    shell: Shell
    served: Served
    pool: PoolRef
    root: RootRecord

    def words(self, verb: str, *more: str) -> tuple[str, ...]:
        return (verb, str(self.pool.pool_id), "--agent", str(self.served.directory), *more)

    async def texts(self) -> tuple[str, str | None]:
        info = await self.shell.world.chain.pool(self.pool.pool_id)
        return info.data_uri, info.record


@pytest.fixture
async def founded(shell: Shell, served: Served) -> Founded:
    number = await new_pool(shell, "--data-uri", NEEDS, "--bootstrap", BOOTSTRAP)
    await shell.done("start", str(number), "--founder", FOUNDER)
    ref = PoolRef(shell.world.chain.rpc.chain_id, shell.world.chain.at.pool, number)
    root = (await shell.world.chain.pool(number)).root
    assert root is not None
    voter = Voter(root.founder, root.peer_key, root.store_id)
    proof = LeaderProof(log_id(ref, root), root, CommitteeChain(1, (voter,)))
    served.port.seen = attrs.evolve(
        served.port.seen, pool=ref, proof=proof, feature_level=features.newest()
    )
    return Founded(shell, served, ref, root)


async def test_a_move_leaves_requirements_that_others_read(founded: Founded) -> None:
    """What it will do is shown and asked; then other tools accept the data URI."""
    shell = founded.shell
    shown = await shell(*founded.words("root"))
    assert "--move takes these out" in shown.stderr
    assert refusals((await founded.texts())[0])
    dry = await shell.done(*founded.words("root", "--move", "--dry-run"))
    assert [line.split(" would call ")[1].split("(")[0] for line in dry["would_send"]] == [
        "PoolRoot.create",
        "PoolRoot.setRecord",
        "ComputePool.updateComputePoolURI",
    ]
    asked = await shell(*founded.words("root", "--move"))
    assert (asked.exit_code, "Send these transactions?" in asked.stdout) == (1, True)
    assert (await founded.texts())[1] is None
    done = await shell.done(*founded.words("root", "--move", "--yes"))
    assert (done["created"], done["written"], done["cleaned"]) == (True, True, True)
    uri, record = await founded.texts()
    assert (uri, refusals(uri)) == (NEEDS, ())
    assert record == with_root("", founded.root) + f";{PAIR}" == done["record"]
    seen = await shell.done(*founded.words("root"))
    assert (seen["place"], seen["contract"], seen["same"]) == ("pool-root", done["contract"], True)
    sent = await shell.nonce()
    again = await shell.done(*founded.words("root", "--move", "--yes"))
    assert (again["created"], again["written"], again["cleaned"]) == (False, False, False)
    assert await shell.nonce() == sent


async def test_nothing_moves_while_an_agent_reads_the_data_uri_alone(founded: Founded) -> None:
    """It would find no log; it is named by its level, and what to do about it."""
    served = founded.served
    served.port.seen = attrs.evolve(served.port.seen, feature_level=BASE_LEVEL)
    error, code = await founded.shell.refused(*founded.words("root", "--move", "--yes"))
    assert (type(error), code) == (Conflict, errors.REFUSED)
    assert "feature level 1" in str(error)
    assert "Upgrade all agents first" in error.hint
    assert (await founded.texts())[1] is None


async def test_what_it_does_not_move(founded: Founded) -> None:
    """A record that is lost, by a stranger, or beside another verb."""
    shell = founded.shell
    key, _ = write_key(founded.served.directory, "stranger.json")
    error, _ = await shell.refused(*founded.words("root", "--move", "--yes"), "--key", str(key))
    assert isinstance(error, NotAllowed)
    writer = KeyWriter(shell.world.chain.rpc, shell.account())
    await shell.world.chain.update_uri(writer, founded.pool.pool_id, NEEDS)
    error, _ = await shell.refused(*founded.words("root", "--move", "--yes"))
    assert "pool root --restore" in error.hint
    for wrong in (("--move", "--restore"), ("--yes",), ("--move", "--json")):
        assert (await shell(*founded.words("root"), *wrong)).exit_code == errors.USAGE


async def test_a_lost_record_comes_back_where_all_agents_read_it(founded: Founded) -> None:
    """Into the contract if all know it, else into the data URI, whoever created the contract."""
    shell, served = founded.shell, founded.served
    chain = shell.world.chain
    writer = KeyWriter(chain.rpc, shell.account())
    await chain.create_root(shell.world.deployment.federator)
    await chain.update_uri(writer, founded.pool.pool_id, NEEDS)
    served.port.seen = attrs.evolve(served.port.seen, feature_level=BASE_LEVEL)
    await shell.done(*founded.words("root", "--restore", "--yes"))
    assert await founded.texts() == (with_root(NEEDS, founded.root), "")
    await chain.update_uri(writer, founded.pool.pool_id, NEEDS)
    served.port.seen = attrs.evolve(served.port.seen, feature_level=features.newest())
    await shell.done(*founded.words("root", "--restore", "--yes"))
    assert await founded.texts() == (NEEDS, with_root("", founded.root))


async def test_a_moved_pool_is_recovered_and_asked_for_other_machines(founded: Founded) -> None:
    """The next epoch is written into the contract, and the data URI holds requirements alone."""
    shell, served = founded.shell, founded.served
    await shell.done(*founded.words("root", "--move", "--yes"))
    voters = tuple(
        Voter(NodeId(bytes([n]) * 20), founded.root.peer_key, founded.root.store_id)
        for n in (1, 2, 3)
    )
    name, digest = log_id(founded.pool, founded.root), StateDigest(b"\x01" + b"\xdd" * 32)
    end = LogEnd(founded.root.store_id, 1, "", name, 1, 0, 7, 9, 2, digest, voters)
    served.port.ends = LogEnds((LogHolder(voters[2].node_id, voters[2].peer_key, end),), ())
    done = await shell.done(*founded.words("recover", "--yes", "--no-wait"))
    await shell.done("set-requirements", "ram_mb=1", "--pool", str(founded.pool.pool_id))
    info = await shell.world.chain.pool(founded.pool.pool_id)
    assert info.root is not None
    assert (info.root.epoch, format_root(info.root)) == (2, done["root"])
    assert (info.data_uri, info.bootstrap) == ("ram_mb=1", (BOOTSTRAP,))


async def test_a_pool_is_created_and_started_beside_the_contract(shell: Shell) -> None:
    """Its data URI never holds anything but requirements."""
    await shell.world.chain.create_root(shell.world.deployment.federator)
    words = ("--data-uri", NEEDS, "--bootstrap", BOOTSTRAP)
    dry = await shell.done("create", "--name", "mine", *words, "--dry-run")
    number = await new_pool(shell, *words)
    assert f"PoolRoot.setRecord({number}, '{PAIR}')" in dry["would_send"][1]
    info = await shell.world.chain.pool(number)
    assert (info.data_uri, info.record) == (NEEDS, PAIR)
    done = await shell.done("start", str(number), "--founder", FOUNDER)
    info = await shell.world.chain.pool(number)
    assert (info.data_uri, info.bootstrap) == (NEEDS, (BOOTSTRAP,))
    assert info.root is not None
    assert format_root(info.root) == done["root"]


async def test_a_root_record_moves_and_is_restored_as_it_was_shown(founded: Founded) -> None:
    """The contract is created, written, and the data URI cleaned; a lost record is written."""
    shell = founded.shell
    number, chain = founded.pool.pool_id, shell.world.chain
    uri, _ = await founded.texts()
    writer = KeyWriter(chain.rpc, shell.account())
    await chain.update_uri(writer, number, NEEDS)
    restored = await agrees(shell, *founded.words("root", "--restore"), yes=True)
    assert restored == ["updateComputePoolURI"]
    await nothing_left(shell, *founded.words("root", "--restore"))
    await chain.update_uri(writer, number, uri)
    moved = await agrees(shell, *founded.words("root", "--move"), yes=True)
    assert len(moved) == 3
    assert moved[1:] == ["setRecord", "updateComputePoolURI"]
    await nothing_left(shell, *founded.words("root", "--move"))
