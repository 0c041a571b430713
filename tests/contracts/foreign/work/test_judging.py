"""Work from the chain to a judge and back: read once, judged by a plug-in, taken back in part."""

from pathlib import Path

import pytest
from click.testing import Result

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.provider.reads import Reader
from p2pool.drivers.chain.transactions.journal import MemoryJournal
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.drivers.chain.validator.work import PieceState, work_of
from p2pool.drivers.chain.validator.work_since import final_number, work_since
from p2pool.model.errors import Misconfigured
from p2pool.model.ids import NodeId, PoolRef
from p2pool.validator.chain_history import history_of
from p2pool.validator.execution import Executor, Tried, budget_of
from p2pool.validator.journal.act_journal import ActJournal
from p2pool.validator.journal.act_record import Owner
from p2pool.validator.judging.judged_work import JudgedWork
from p2pool.validator.policy.acts import ActKind, ActState
from p2pool.validator.policy.decision import decide
from p2pool.validator.policy.policy_file import read_policy
from tests.cli.output.held import held
from tests.cli.provider.desk import Desk
from tests.contracts.foreign.conftest import ForeignWorld
from tests.validator.judging.cases import install_judges

pytestmark = pytest.mark.chain

KEYS = [f"{number:02x}" * 32 for number in range(1, 5)]
POLICY = """
[policy]
dry_run = false

[slash]
validators = 1

[work]
judge = "listed"
pieces = 2

[work.options]
list = "{listed}"

[rules.wrong_work]
act = "none"
times = 1
within_s = 86400
penalty_percent = 8
"""


@pytest.fixture
def policy_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A policy with the judge of the documentation's example: the first key is worth all of its
    units, the second one 6 of 8, the third one is not listed."""
    install_judges(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    listed = tmp_path / "keys.txt"
    listed.write_text(f"{KEYS[0]} 8\n{KEYS[1]} 6\n")
    path = tmp_path / "policy.toml"
    path.write_text(POLICY.format(listed=listed))
    return path


async def submitted(desk: Desk, world: ForeignWorld, keys: list[str]) -> tuple[NodeId, int]:
    """A member's node has submitted 8 units under each of these keys, in final blocks; its
    provider's stake."""
    provider, node_id = await world.member()
    own, node = desk.key_of(provider, "own.json"), address_text(node_id)
    for key in keys:
        await desk.told(own, "provider", "submit-work", node, "0x" + key, "8")
    await world.chain.rpc.request("anvil_mine", "0x80")
    facts = await (await Reader.at_head(world.chain)).provider(provider.address)
    return node_id, facts.stake_wei.need("stake")


async def test_pieces_are_read_once_and_from_final_blocks(
    world: ForeignWorld, tmp_path: Path
) -> None:
    """From any block on, in the order in which they came; what was taken back is not among them."""
    desk, pool_id = Desk.of(world, tmp_path), world.pool_id
    node_id, _ = await submitted(desk, world, KEYS[:3])
    judge = desk.key_of(world.network.validator, "judge.json")
    await desk.told(judge, "validator", "invalidate-work", "0x" + KEYS[1], "--yes")
    last = await final_number(world.chain, None)
    part = await work_since(world.chain, pool_id, 0, last)
    assert [one.key.hex() for one in part.pieces] == KEYS[:3]
    assert {one.node_id for one in part.pieces} == {node_id}
    assert part.next_block == last + 1
    assert (await work_since(world.chain, pool_id, part.next_block, last)).pieces == ()
    again = await work_since(world.chain, pool_id, part.pieces[1].block, last)
    assert [one.key.hex() for one in again.pieces] == KEYS[1:3]
    head = await final_number(world.chain, 1)
    told = [one.key.hex() for one in (await work_since(world.chain, pool_id, 0, head + 1)).pieces]
    assert told == [KEYS[0], KEYS[2]]


async def test_the_command_judges_some_at_a_time(
    world: ForeignWorld, tmp_path: Path, policy_file: Path
) -> None:
    """Without a key, in rounds; each piece once; it names what takes wrong work back."""
    desk = Desk.of(world, tmp_path)
    await submitted(desk, world, KEYS[:3])
    words = ("validator", "judge", "--policy", str(policy_file), "--data-dir", str(tmp_path / "v"))
    first = await desk.told(None, *words)
    assert [(one["key"][2:], one["conclusion"]) for one in first["judged"]] == [
        (KEYS[0], "right"),
        (KEYS[1], "wrong"),
    ]
    assert first["judged"][1]["wrong_units"] == "2"
    assert (first["waiting"], first["unread"]) == (1, "")
    said: Result = await desk(None, *words)
    assert f"invalidate-work 0x{KEYS[2]} --units 8 --pool {world.pool_id}" in said.output
    assert "keys.txt has no such key" in said.output
    assert held((await desk(None, *words, "--json")).stdout)["judged"] == []
    policy_file.write_text("")
    error = await desk.refused(None, *words)
    assert isinstance(error, Misconfigured)
    assert "names no judge" in error.message


async def test_what_was_not_done_is_taken_back_by_policy(
    world: ForeignWorld, tmp_path: Path, policy_file: Path
) -> None:
    """A quarter of one piece and all of another, with a part of the stake; each once, and the node
    stays where it is."""
    desk, chain, policy = Desk.of(world, tmp_path), world.chain, read_policy(policy_file)
    node_id, stake_wei = await submitted(desk, world, KEYS[:3])
    directory, writer = tmp_path / "v", world.network.validator
    words = ("validator", "judge", "--policy", str(policy_file), "--data-dir", str(directory))
    for _ in range(2):
        await desk.told(None, *words)
    pending, account = MemoryJournal(), writer._account

    def writer_for(fee_max_wei: int) -> KeyWriter:
        return KeyWriter(chain.rpc, account, journal=pending, fee_max_wei=fee_max_wei)

    pool = PoolRef(chain.rpc.chain_id, chain.at.pool, world.pool_id)
    with JudgedWork.opened(directory, pool) as kept:
        findings = kept.findings(writer.address)
        now_ms = max(one.at_ms for one in findings)

    async def round_of(journal: ActJournal) -> list[Tried]:
        executor = Executor(
            chain=chain,
            account=writer.address,
            writer_for=writer_for,
            pending=pending,
            journal=journal,
        )
        history = await history_of(chain, writer.address, findings, journal.taken)
        acts = decide(policy, findings, history, await budget_of(policy, chain), now_ms).acts
        return await executor.carry_out(acts, dry_run=policy.dry_run)

    owner = Owner(chain.rpc.chain_id, chain.at.network, writer.address)
    with ActJournal.opened(directory, owner) as journal:
        done = await round_of(journal)
        assert [(one.taken.act.kind, one.taken.state) for one in done] == [
            (ActKind.SLASH, ActState.DONE),
            (ActKind.TAKE_BACK, ActState.DONE),
            (ActKind.TAKE_BACK, ActState.DONE),
        ], done
        assert await round_of(journal) == []
    reader = await Reader.at_head(chain)
    work = await work_of(reader, world.pool_id, world.network.domain_id)
    found = work.past.need("work").pieces
    assert [found[bytes.fromhex(key)].state for key in KEYS[:3]] == [
        PieceState.SUBMITTED,
        PieceState.REMOVED,
        PieceState.REMOVED,
    ]
    assert await chain.in_pool(world.pool_id, node_id)
    assert done[0].taken.act.amount_wei == stake_wei * 8 // 100
    for one in done:
        assert 0 < one.taken.spent_wei <= one.taken.act.reserve_wei
