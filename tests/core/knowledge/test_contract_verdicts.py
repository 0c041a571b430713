"""What a node makes of the chain's word on contract accounts: asked once, kept, within a budget."""

import attrs

from p2pool.core.effects import JudgeContractSignatures
from p2pool.core.knowledge.contract_verdicts import ContractVerdicts
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.access.verdicts import FinalBlock, Validity, Verdict
from p2pool.model.chain.roster import ChainRoster
from p2pool.model.ids import Address, Digest
from p2pool.model.states import PoolStatus
from p2pool.model.timing import Now

CONTRACT = Address(b"C" * 20)
PEER, OTHER = b"p" * 32, b"o" * 32


def signed(number: int = 0) -> SignedRequest:
    request = TaskRequest(Action.BAN, 1, "", "", bytes([number]) * 32, 0, 60)
    return SignedRequest(request, b"s" * 65, None, CONTRACT)


def block(number: int) -> FinalBlock:
    return FinalBlock(number, Digest(number.to_bytes(32, "big")))


def at(ms: int) -> Now:
    return Now(ms, 1_700_000_000_000 + ms)


@attrs.define
class Chain:
    """A book, and what its endpoints call final."""

    final: int | None = 100
    book: ContractVerdicts = attrs.field(
        default=attrs.Factory(lambda self: ContractVerdicts(self.roster), takes_self=True)
    )

    def roster(self) -> ChainRoster | None:
        if self.final is None:
            return None
        nobody = Address(bytes(20))
        return ChainRoster(
            block_number=self.final,
            block_hash=block(self.final).block_hash,
            block_time_ms=self.final * 1000,
            members=(),
            creator=nobody,
            manager=nobody,
            status=PoolStatus.ACTIVE,
            root=None,
            pool_name="p",
        )

    def says(self, validity: Validity, one: SignedRequest, number: int, ms: int) -> None:
        verdict = Verdict(validity, "why", block(number), number * 1000)
        self.book.on_judged(one, block(number), verdict, at(ms))


def test_it_is_asked_once_and_kept() -> None:
    """Nothing until it is here; then the same word, however often somebody asks."""
    chain, one = Chain(), signed()
    for _ in range(3):
        assert chain.book.now(one, PEER, at(0)) is None
    assert chain.book.take() == [JudgeContractSignatures(one, block(100))]
    chain.says(Validity.VALID, one, 100, 10)
    chain.final = 105
    found = chain.book.now(one, PEER, at(5_000))
    assert found is not None
    assert (found.validity, found.block) == (Validity.VALID, block(100))
    assert chain.book.behind_ms(found) == 5_000
    assert chain.book.take() == []


def test_after_a_while_it_is_asked_at_a_block_of_then() -> None:
    """What was valid a minute ago may be so no more."""
    chain, one = Chain(), signed()
    chain.book.now(one, PEER, at(0))
    chain.says(Validity.VALID, one, 100, 10)
    chain.book.take()
    chain.final = 160
    assert chain.book.now(one, PEER, at(limits.CONTRACT_BLOCK_KEPT_MS)) is None
    assert chain.book.take() == [JudgeContractSignatures(one, block(160))]


def test_a_named_block_is_asked_about_and_what_is_final_since() -> None:
    """A state that is gone is judged later; whoever asks names the block."""
    chain, one = Chain(), signed()
    assert chain.book.at(one, block(40), PEER, at(0)) is None
    assert chain.book.take() == [JudgeContractSignatures(one, block(40), block(100))]


def test_a_block_that_is_not_final_here_is_nothing_yet() -> None:
    """Nor is any where this node never read the chain; a fork at our height is a no."""
    chain, one = Chain(), signed()
    found = chain.book.at(one, block(101), PEER, at(0))
    assert found is not None
    assert found.validity is Validity.UNKNOWN
    fork = attrs.evolve(block(100), block_hash=Digest(b"f" * 32))
    found = chain.book.at(one, fork, PEER, at(0))
    assert found is not None
    assert found.validity is Validity.INVALID
    chain.final = None
    for found in (chain.book.at(one, block(1), PEER, at(0)), chain.book.now(one, PEER, at(0))):
        assert found is not None
        assert found.validity is Validity.UNKNOWN
    assert chain.book.take() == []


def test_not_to_know_is_asked_again_later() -> None:
    """Until then it stays so, and it is no yes meanwhile either."""
    chain, one = Chain(), signed()
    chain.book.now(one, PEER, at(0))
    chain.book.take()
    chain.says(Validity.UNKNOWN, one, 100, 10)
    for ms in (20, limits.CONTRACT_ASK_AGAIN_MS + 20):
        found = chain.book.now(one, PEER, at(ms))
        assert found is not None
        assert found.validity is Validity.UNKNOWN
    assert len(chain.book.take()) == 1
    chain.says(Validity.VALID, one, 100, limits.CONTRACT_ASK_AGAIN_MS + 30)
    found = chain.book.now(one, PEER, at(limits.CONTRACT_ASK_AGAIN_MS + 40))
    assert found is not None
    assert found.validity is Validity.VALID


def test_a_question_whose_answer_got_lost_is_asked_again() -> None:
    """A book that waited for ever would keep a request for ever."""
    chain, one = Chain(), signed()
    assert chain.book.now(one, PEER, at(0)) is None
    chain.book.take()
    assert chain.book.now(one, PEER, at(limits.CONTRACT_ASKED_MAX_MS - 1)) is None
    assert chain.book.take() == []
    assert chain.book.now(one, PEER, at(limits.CONTRACT_ASKED_MAX_MS)) is None
    assert len(chain.book.take()) == 1


def test_who_makes_us_ask_has_a_budget() -> None:
    """Beyond it nobody knows; another asker has its own."""
    chain = Chain()
    for number in range(limits.CONTRACT_ASKS_BURST):
        assert chain.book.now(signed(number), PEER, at(0)) is None
    found = chain.book.now(signed(200), PEER, at(0))
    assert found is not None
    assert found.validity is Validity.UNKNOWN
    assert len(chain.book.take()) == limits.CONTRACT_ASKS_BURST
    assert chain.book.now(signed(201), OTHER, at(0)) is None
    assert chain.book.now(signed(200), PEER, at(1_000 // limits.CONTRACT_ASKS_PER_S)) is None
