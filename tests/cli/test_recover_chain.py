"""`pool recover` on a real chain, against an agent that says which logs are held."""

import attrs
import pytest

from p2pool.cli import errors
from p2pool.codec.digests import log_id
from p2pool.codec.json.hex import address_text
from p2pool.codec.text.data_uri import format_root, read_root, requirements, with_root
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.chain.root_record import PreviousLog, RootRecord
from p2pool.model.errors import Conflict, Misconfigured, NotAllowed
from p2pool.model.ids import NodeId, PeerKey, PoolRef, StateDigest, StoreId
from p2pool.model.log.raft import LogEnd, Voter
from p2pool.model.ports.agent import LogEnds, LogHolder
from tests.api.conftest import Served
from tests.cli.shell import FOUNDER, NEEDS, Shell, new_pool, write_key

pytestmark = pytest.mark.chain

VOTERS = tuple(
    Voter(NodeId(bytes([n]) * 20), PeerKey(bytes([n]) * 32), StoreId(bytes([n]) * 16))
    for n in (1, 2, 3)
)
DIGEST = StateDigest(b"\x01" + b"\xdd" * 32)


@attrs.frozen
class Lost:
    """A pool on the chain whose agent reaches one voter of three and a replica."""

    shell: Shell
    served: Served
    pool: PoolRef
    root: RootRecord

    @property
    def words(self) -> tuple[str, ...]:
        return ("recover", str(self.pool.pool_id), "--agent", str(self.served.directory))

    async def uri(self) -> str:
        return (await self.shell.world.chain.pool(self.pool.pool_id)).data_uri

    def says(self, *numbers: int, last_index: int = 9) -> None:
        """These agents answer, with logs of one length."""
        name = log_id(self.pool, self.root)
        found = tuple(
            LogHolder(
                NodeId(bytes([n]) * 20),
                PeerKey(bytes([n]) * 32),
                LogEnd(
                    StoreId(bytes([n]) * 16), 1, "", name, 1, 0, 7, last_index, 2, DIGEST, VOTERS
                ),
            )
            for n in numbers
        )
        self.served.port.ends = LogEnds(found, (NodeId(b"\x09" * 20),))


@pytest.fixture
async def lost(shell: Shell, served: Served) -> Lost:
    number = await new_pool(shell, "--data-uri", NEEDS)
    await shell.done("start", str(number), "--founder", FOUNDER)
    ref = PoolRef(shell.world.chain.rpc.chain_id, shell.world.chain.at.pool, number)
    served.port.seen = attrs.evolve(served.port.seen, pool=ref)
    root = read_root((await shell.world.chain.pool(number)).data_uri)
    assert root is not None
    made = Lost(shell, served, ref, root)
    made.says(3, 8)
    return made


async def test_the_next_epoch_is_written_beside_all_other_pairs(lost: Lost) -> None:
    """Founder, previous log, base and digest are those of the longest log; the rest stands."""
    done = await lost.shell.done(*lost.words, "--yes", "--no-wait")
    previous = PreviousLog(log_id(lost.pool, lost.root), 9, DIGEST)
    wanted = RootRecord(2, VOTERS[2].node_id, VOTERS[2].peer_key, VOTERS[2].store_id, previous)
    uri = await lost.uri()
    assert read_root(uri) == wanted
    assert requirements(uri) == NEEDS
    assert (done["root"], done["epoch"]) == (format_root(wanted), 2)
    assert done["silent"] == ["0x" + "09" * 20]


async def test_a_dry_run_shows_and_sends_nothing(lost: Lost) -> None:
    """The table, the reasons, and the transaction that would be sent."""
    before, sent = await lost.uri(), await lost.shell.nonce()
    plain = await lost.shell(*lost.words, "--dry-run")
    assert plain.exit_code == 0, plain.exception
    for part in ("0x" + "03" * 20, "no answer", "would call ComputePool.updateComputePoolURI"):
        assert part in plain.stdout
    done = await lost.shell.done(*lost.words, "--dry-run")
    assert "p2pool:root=2/" in done["would_send"][0]
    assert (await lost.uri(), await lost.shell.nonce()) == (before, sent)


async def test_who_does_not_say_yes_writes_nothing(lost: Lost) -> None:
    """Asked, and the default is no; a program has to say --yes."""
    before = await lost.uri()
    result = await lost.shell(*lost.words)
    assert (result.exit_code, "Write this record to the chain?" in result.stdout) == (1, True)
    result = await lost.shell(*lost.words, "--json")
    assert (result.exit_code, "--yes" in result.stderr) == (errors.USAGE, True)
    assert await lost.uri() == before


async def test_misuse_is_refused_with_a_sentence(lost: Lost) -> None:
    """A quorum that lives; an epoch that is taken; an agent of another pool; no right to it."""
    before = await lost.uri()
    lost.says(1, 3)
    error, code = await lost.shell.refused(*lost.words, "--yes")
    assert (type(error), code, "2 of 3 voters" in str(error)) == (Conflict, errors.REFUSED, True)
    lost.says(3)
    key, account = write_key(lost.served.directory, "stranger.json")
    error, code = await lost.shell.refused(*lost.words, "--yes", "--key", str(key))
    assert (type(error), code) == (NotAllowed, errors.REFUSED)
    assert address_text(account) in str(error)
    error, _ = await lost.shell.refused("recover", "999", *lost.words[2:], "--yes")
    assert isinstance(error, Misconfigured)
    assert await lost.uri() == before
    writer = KeyWriter(lost.shell.world.chain.rpc, lost.shell.account())
    pending = attrs.evolve(lost.root, epoch=2)
    await lost.shell.world.chain.update_uri(writer, lost.pool.pool_id, with_root(before, pending))
    error, _ = await lost.shell.refused(*lost.words, "--yes")
    assert "Epoch 2 is already on the chain" in str(error)
    done = await lost.shell.done(*lost.words, "--yes", "--no-wait", "--force")
    assert done["epoch"] == 3
