"""What strangers, and validators, may cost a node; and what is opened fits into frames."""

from types import SimpleNamespace
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2pool.agent.streams.challenge_rate import HOUR_MS, ChallengeRate
from p2pool.agent.streams.leases import Leases, leases_of
from p2pool.agent.streams.openings import parts_of
from p2pool.agent.streams.validator_check import ValidatorCheck
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable, Overloaded
from p2pool.model.ids import Address, Digest, PeerKey
from p2pool.model.validation.transcript import BlockOpening, Openings, RowOpening
from tests.codec.samples import example

ONE, OTHER = Address(b"1" * 20), Address(b"2" * 20)
ASKER = PeerKey(b"p" * 32)


def test_each_validator_has_a_pause_and_all_have_an_hour() -> None:
    """One that waits its time finds its turn taken where others took all."""
    rate = ChallengeRate(apart_ms=100, per_hour=3)
    assert rate.next_ms(ONE, 0) == 0
    rate.begin(ONE, 0)
    assert (rate.next_ms(ONE, 10), rate.next_ms(OTHER, 10)) == (100, 10)
    rate.begin(OTHER, 10)
    rate.begin(ONE, 100)
    assert rate.next_ms(OTHER, 200) == HOUR_MS
    assert rate.next_ms(ONE, HOUR_MS) == HOUR_MS
    rate.begin(ONE, HOUR_MS)
    assert rate.next_ms(OTHER, HOUR_MS) == HOUR_MS + 10


# --- asking the chain ---------------------------------------------------------------------------


class Chain:
    """A chain that knows one validator, or does not answer."""

    def __init__(self) -> None:
        self.asked: list[Address] = []
        self.away = False

    async def asks(self, account: Address) -> bool:
        self.asked.append(account)
        if self.away:
            raise ChainUnavailable("Nobody answers.")
        return account == ONE


@pytest.fixture
def chain() -> Chain:
    """One that answers."""
    return Chain()


@pytest.fixture
def check(chain: Chain) -> ValidatorCheck:
    """A check by that chain, in which every guest can pay."""
    made = ValidatorCheck(lambda peer_key, checks, now_ms: True)
    made.asks = chain.asks
    return made


async def test_strangers_keep_no_validator_out(check: ValidatorCheck, chain: Chain) -> None:
    """However many there are, the chain is asked about few, and a known one comes first."""
    assert await check.is_validator(ONE, ASKER, 0)
    refused = 0
    for number in range(500):
        account = Address(number.to_bytes(20, "big"))
        try:
            assert not await check.is_validator(account, ASKER, 1)
        except Overloaded:
            refused += 1
    assert len(chain.asked) == limits.VALIDATOR_ASKS_BURST
    assert refused == 500 - len(chain.asked) + 1
    later = limits.VALIDATOR_KEPT_MS
    assert await check.is_validator(ONE, ASKER, later)
    assert chain.asked[-1] == ONE


async def test_unknown_is_no_yes(check: ValidatorCheck, chain: Chain) -> None:
    """A chain that is away is asked again; what it said is believed for its time, and no longer."""
    assert await check.is_validator(ONE, ASKER, 0)
    chain.away = True
    assert await check.is_validator(ONE, ASKER, limits.VALIDATOR_KEPT_MS - 1)
    for _ in range(2):
        with pytest.raises(ChainUnavailable):
            await check.is_validator(ONE, ASKER, limits.VALIDATOR_KEPT_MS)
    assert len(chain.asked) == 3
    with pytest.raises(ChainUnavailable):
        await ValidatorCheck(lambda *_: True).is_validator(ONE, ASKER, 0)


async def test_a_chain_that_hangs_is_not_waited_for(
    check: ValidatorCheck, autojump_clock: Any
) -> None:
    """Whoever asks is told in time, and the next one gets its own time."""

    async def hangs(account: Address) -> bool:
        await trio.sleep_forever()
        raise AssertionError

    check.asks = hangs
    for account in (ONE, OTHER):
        with trio.fail_after(limits.VALIDATOR_ASK_DEADLINE_MS / 1000 + 1):
            with pytest.raises(ChainUnavailable):
                await check.is_validator(account, ASKER, 0)


# --- leases -------------------------------------------------------------------------------------


def node_with(
    items: list[tuple[str, bool]], placed: list[tuple[str, int, int]], strays: tuple[str, ...] = ()
) -> Any:
    """A node whose worker has GPUs, some of copies that have ended, and whose log has placed some:
    the GPU, when, and for how many seconds."""
    worker = SimpleNamespace(
        items={gpu: SimpleNamespace(gpus=(gpu,), ended=ended, alive=False) for gpu, ended in items}
    )
    copies = [
        SimpleNamespace(
            gpus=(gpu,), holds=True, placed_at_ms=at_ms, allocation=SimpleNamespace(task_id=gpu)
        )
        for gpu, at_ms, _ in placed
    ]
    state = SimpleNamespace(
        tasks={gpu: SimpleNamespace(spec=SimpleNamespace(deadline_s=s)) for gpu, _, s in placed},
        on_node=lambda me: copies,
        holders=lambda me: [*copies, *(SimpleNamespace(gpus=(gpu,)) for gpu in strays)],
    )
    context = SimpleNamespace(me=None, pool_log=SimpleNamespace(state=state))
    return SimpleNamespace(context=context, parts=SimpleNamespace(worker=worker))


@pytest.mark.parametrize(
    ("node", "leases"),
    [
        (node_with([], []), Leases()),
        (node_with([("A", True)], []), Leases()),
        (node_with([("A", False)], []), Leases(frozenset("A"))),
        (node_with([], [("A", 1_000, 60)]), Leases(frozenset("A"), 61_000)),
        (node_with([("A", False)], [("A", 1, 5), ("B", 2, 9)]), Leases(frozenset("AB"), 9_002)),
        (node_with([], [("A", 1, 5), ("B", 2, 0)]), Leases(frozenset("AB"))),
        (node_with([("C", False)], [("A", 1, 5)]), Leases(frozenset("AC"))),
        (node_with([], [("A", 1, 5)], ("D",)), Leases(frozenset("AD"))),
    ],
)
def test_a_gpu_is_leased_by_the_log_or_by_the_machine(node: Any, leases: Leases) -> None:
    """And until when is known only if all who have one say so."""
    assert leases_of(node) == leases


# --- parts --------------------------------------------------------------------------------------

ROOT = Digest(bytes(32))
ROWS = st.builds(
    lambda size, depth: RowOpening(
        0, 1, 2, 3, entries=bytes(size), path=(Digest(bytes(32)),) * depth
    ),
    st.integers(0, 4 * limits.CHALLENGE_COLUMNS_MAX),
    st.integers(0, limits.CHALLENGE_PATH_MAX),
)
BLOCK: BlockOpening = example(BlockOpening)


@given(st.lists(ROWS, max_size=60), st.integers(0, 40))
def test_parts_are_small_and_lose_nothing(rows: list[RowOpening], blocks: int) -> None:
    """Whatever is opened: the same again in the same order, and one part is the last."""
    whole = Openings(tuple(rows), (BLOCK,) * blocks)
    parts = list(parts_of(whole))
    assert [part.last for part in parts] == [*[False] * (len(parts) - 1), True]
    assert tuple(one for part in parts for one in part.openings.rows) == whole.rows
    assert tuple(one for part in parts for one in part.openings.blocks) == whole.blocks
    for part in parts:
        shown = (*part.openings.rows, *part.openings.blocks)
        size = sum(len(getattr(one, "entries", b"")) for one in shown)
        assert size <= limits.CHALLENGE_PART_MAX_BYTES
        assert shown or len(parts) == 1
