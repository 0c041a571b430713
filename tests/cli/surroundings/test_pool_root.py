"""A pool that lives is not started anew where its data URI lost the root record."""

import attrs
import pytest

from p2pool.cli import errors
from p2pool.client.recovery import propose
from p2pool.codec.digests import log_id
from p2pool.codec.json.held_logs import held_log
from p2pool.codec.text.data_uri import format_root, read_root, requirements, with_root
from p2pool.dev.chain.contracts import fund
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import Conflict, NotAllowed, NotFound
from p2pool.model.ids import PoolRef, StateDigest
from p2pool.model.log.certificates import CommitteeChain, LeaderProof
from p2pool.model.log.raft import LogEnd, Voter
from p2pool.model.ports.agent import LogEnds, LogHolder
from tests.api.conftest import Served
from tests.cli.shell import FOUNDER, NEEDS, PEER, Shell, new_pool, write_key

pytestmark = pytest.mark.chain

OTHER = f"0x{'ef' * 20}/{PEER}/{'cd' * 16}"


@attrs.frozen
class Rootless:
    """A pool whose URI lost its root record; the agent that is asked follows the pool's log."""

    shell: Shell
    served: Served
    pool: PoolRef
    root: RootRecord

    def words(self, verb: str, *more: str) -> tuple[str, ...]:
        return (verb, str(self.pool.pool_id), "--agent", str(self.served.directory), *more)

    async def uri(self) -> str:
        return (await self.shell.world.chain.pool(self.pool.pool_id)).data_uri

    async def write(self, uri: str) -> None:
        writer = KeyWriter(self.shell.world.chain.rpc, self.shell.account())
        await self.shell.world.chain.update_uri(writer, self.pool.pool_id, uri)

    def holder(self) -> LogHolder:
        name, store = log_id(self.pool, self.root), self.root.store_id
        voter = Voter(self.root.founder, self.root.peer_key, store)
        digest = StateDigest(b"\x01" + b"\xdd" * 32)
        end = LogEnd(store, 1, "", name, 1, 0, 7, 9, 2, digest, (voter,))
        return LogHolder(voter.node_id, voter.peer_key, end)


@pytest.fixture
async def rootless(shell: Shell, served: Served) -> Rootless:
    number = await new_pool(shell, "--data-uri", NEEDS)
    await shell.done("start", str(number), "--founder", FOUNDER)
    ref = PoolRef(shell.world.chain.rpc.chain_id, shell.world.chain.at.pool, number)
    root = read_root((await shell.world.chain.pool(number)).data_uri)
    assert root is not None
    made = Rootless(shell, served, ref, root)
    await made.write(NEEDS)
    voter = Voter(root.founder, root.peer_key, root.store_id)
    proof = LeaderProof(log_id(ref, root), root, CommitteeChain(1, (voter,)))
    served.port.seen = attrs.evolve(served.port.seen, pool=ref, proof=proof)
    served.port.ends = LogEnds((made.holder(),), ())
    return made


async def test_a_living_log_is_not_started_anew(rootless: Rootless) -> None:
    """By nobody and with no founder; the command that mends it is named."""
    for more in (("--founder", OTHER), ("--founder", FOUNDER), ("--founder", OTHER, "--force"), ()):
        error, code = await rootless.shell.refused(*rootless.words("start", *more))
        assert (type(error), code) == (Conflict, errors.REFUSED), more
        assert "p2pool pool root --restore" in error.hint
        assert "pool start" not in error.hint
    assert await rootless.uri() == NEEDS


async def test_a_lost_record_is_written_again(rootless: Rootless) -> None:
    """The one of the log that lives, beside all other pairs; once."""
    shell = rootless.shell
    seen = await shell.done(*rootless.words("root"))
    assert (seen["chain"], seen["log"], seen["same"]) == (None, format_root(rootless.root), False)
    dry = await shell.done(*rootless.words("root", "--restore", "--dry-run"))
    assert "updateComputePoolURI" in dry["would_send"][0]
    assert await rootless.uri() == NEEDS
    done = await shell.done(*rootless.words("root", "--restore", "--yes"))
    assert done["written"]
    uri = await rootless.uri()
    assert (read_root(uri), requirements(uri)) == (rootless.root, NEEDS)
    sent = await shell.nonce()
    assert not (await shell.done(*rootless.words("root", "--restore", "--yes")))["written"]
    assert (await shell.nonce(), (await shell.done(*rootless.words("root")))["same"]) == (
        sent,
        True,
    )


async def test_a_record_that_nobody_can_read_is_replaced(rootless: Rootless) -> None:
    """It founds nothing; asked, and the default is no."""
    await rootless.write(f"{NEEDS};p2pool:root=1/nonsense")
    result = await rootless.shell(*rootless.words("root", "--restore"))
    assert (result.exit_code, "Write this record" in result.stdout) == (1, True)
    await rootless.shell.done(*rootless.words("root", "--restore", "--yes"))
    assert read_root(await rootless.uri()) == rootless.root


async def test_what_it_does_not_restore(rootless: Rootless) -> None:
    """Over another record, by a stranger, or from an agent that knows no record or a wrong one."""
    words, shell = rootless.words("root", "--restore", "--yes"), rootless.shell
    key, account = write_key(rootless.served.directory, "stranger.json")
    await fund(shell.world.chain.rpc, account)
    error, _ = await shell.refused(*words, "--key", str(key))
    assert isinstance(error, NotAllowed)
    await rootless.write(with_root(NEEDS, attrs.evolve(rootless.root, epoch=2)))
    error, _ = await shell.refused(*words)
    assert (type(error), "names another log" in str(error)) == (Conflict, True)
    await rootless.write(NEEDS)
    seen = rootless.served.port.seen
    assert seen.proof is not None
    lying = attrs.evolve(seen.proof, root=attrs.evolve(rootless.root, epoch=3))
    rootless.served.port.seen = attrs.evolve(seen, proof=lying)
    error, _ = await shell.refused(*words)
    assert "does not found the log" in str(error)
    rootless.served.port.seen = attrs.evolve(seen, proof=None)
    error, _ = await shell.refused(*words)
    assert isinstance(error, NotFound)
    assert await rootless.uri() == NEEDS


async def test_no_other_command_proposes_to_start_it(rootless: Rootless) -> None:
    """Recovering it names the mend."""
    with pytest.raises(Conflict, match="pool root --restore"):
        propose(rootless.pool, None, [held_log(rootless.holder())])
    with pytest.raises(Conflict, match="pool start"):
        propose(rootless.pool, None, [])
