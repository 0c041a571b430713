"""What a follower makes of a request in a leader's entry: its own, never, not yet, or no longer."""

from typing import Any

import attrs
import pytest

from p2pool.codec.entries import encode_body
from p2pool.core.log.pool_log import PoolLog
from p2pool.core.log.request_check import RequestCheck
from p2pool.core.raft.state import EntryRefusal, Offer
from p2pool.model import limits
from p2pool.model.access.delegations import Delegation, Scope, SignedDelegation
from p2pool.model.access.requests import Action, SignedRequest, Signers, TaskRequest
from p2pool.model.access.verdicts import FinalBlock, Validity, Verdict
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel
from p2pool.model.ids import Address, AllocationId, Digest, NodeId, StoreId, TaskId
from p2pool.model.log.entries import (
    Adopted,
    ChangeCertified,
    LevelRaised,
    RequestApplied,
    Revocation,
    Setting,
)
from p2pool.model.log.raft import Entry, EntryKind, Voter
from p2pool.model.messages.raft import AppendAnswered, AppendRequested
from p2pool.model.timing import Now
from tests.core.log.founded_log import ME, POOL
from tests.core.log.led_voter import led_voter
from tests.raft.harness.cluster import voter

MANAGER, PROVIDER, FRIEND, STRANGER = (Address(c * 20) for c in (b"M", b"P", b"F", b"S"))
NODE = NodeId(b"n" * 20)
NOW_S = 1_000
NEXT = voter(3)


@attrs.define
class Book:
    """A roster: who rules, whose a node is, and whether it was read lately."""

    current: bool = True

    def is_current(self, time_ms: int) -> bool:
        return self.current

    def rules(self, account: Address, now: Now) -> bool:
        return account == MANAGER

    def provides(self, node_id: NodeId, account: Address, now: Now) -> bool:
        return (node_id, account) == (NODE, PROVIDER)


def signed(action: Action, delegation: Delegation | None = None, **fields: Any) -> SignedRequest:
    target, text = {
        Action.SET: ("timing", '{"value":"wan"}'),
        Action.STOP: ("t" * 32, ""),
    }.get(action, (NODE.hex(), ""))
    made = TaskRequest(action, POOL.pool_id, target, text, bytes(32), NOW_S, NOW_S + 60)
    under = SignedDelegation(delegation, b"d" * 65) if delegation is not None else None
    return SignedRequest(attrs.evolve(made, **fields), b"s" * 65, under)


def claimed(made: SignedRequest, signer: Address, grantor: Address | None = None) -> RequestApplied:
    return RequestApplied(made, ME.node_id, signer, grantor)


def checked(
    record: RequestApplied | Adopted, *, current: bool = True, found: Signers | None = None
) -> EntryRefusal | None:
    """What becomes of a record that names who truly signed it, or `found`."""
    true = found if found is not None else Signers(record.signer, record.grantor)
    check = RequestCheck(POOL, lambda made: true, Book(current))
    entry = Entry(5, 2, EntryKind.REQUEST, 0, b"")
    return check.refusal(entry, record, Offer(2, ME, Now(0, NOW_S * 1000)))


GOOD = Delegation(POOL.pool_id, FRIEND, Scope.ADMIN, NOW_S - 100, NOW_S + 100)


@pytest.mark.parametrize(
    "record",
    [
        *(claimed(signed(action), MANAGER) for action in Action),
        claimed(signed(Action.DRAIN), PROVIDER),
        claimed(signed(Action.RESUME), PROVIDER),
        claimed(signed(Action.BAN, GOOD), FRIEND, MANAGER),
        claimed(signed(Action.STOP, attrs.evolve(GOOD, scope=Scope.SUBMIT)), FRIEND, MANAGER),
        claimed(signed(Action.SUBMIT, attrs.evolve(GOOD, not_after_s=NOW_S - 29)), FRIEND, MANAGER),
    ],
)
def test_what_people_may_ask_for_is_taken(record: RequestApplied) -> None:
    """By the manager, a node's provider, and delegates as far as their scope goes; whose a task is
    the state decides, when the request is applied."""
    assert checked(record) is None


@pytest.mark.parametrize("current", [True, False])
@pytest.mark.parametrize(
    "record",
    [
        claimed(signed(Action.BAN, pool_id=POOL.pool_id + 1), MANAGER),
        claimed(signed(Action.BAN), FRIEND, MANAGER),
        claimed(signed(Action.BAN, GOOD), FRIEND),
        claimed(signed(Action.BAN, GOOD), STRANGER, MANAGER),
        claimed(signed(Action.BAN, attrs.evolve(GOOD, pool_id=9)), FRIEND, MANAGER),
        claimed(signed(Action.BAN, attrs.evolve(GOOD, scope=Scope.SUBMIT)), FRIEND, MANAGER),
        claimed(signed(Action.STOP, attrs.evolve(GOOD, scope=Scope.READ)), FRIEND, MANAGER),
        *(
            claimed(signed(action, GOOD), FRIEND, MANAGER)
            for action in (Action.UNBAN, Action.SET, Action.REVOKE)
        ),
        claimed(signed(Action.BAN, attrs.evolve(GOOD, not_after_s=NOW_S - 31)), FRIEND, MANAGER),
        claimed(signed(Action.BAN, attrs.evolve(GOOD, not_before_s=NOW_S + 121)), FRIEND, MANAGER),
    ],
)
def test_what_no_roster_makes_right_is_refused_for_good(
    record: RequestApplied, current: bool
) -> None:
    """Whatever the chain says, and whoever signed."""
    refused = checked(record, current=current)
    assert refused is not None
    assert not refused.waits


@pytest.mark.parametrize("current", [True, False])
@pytest.mark.parametrize("found", [Signers(STRANGER), Signers(FRIEND, STRANGER), "nobody"])
def test_a_false_signer_is_refused_for_good(current: bool, found: Signers | str) -> None:
    """By another account, for another grantor, or by nobody."""
    under = isinstance(found, Signers) and found.grantor is not None
    record = claimed(
        signed(Action.BAN, GOOD if under else None),
        FRIEND if under else MANAGER,
        MANAGER if under else None,
    )
    entry, offer = Entry(5, 2, EntryKind.REQUEST, 0, b""), Offer(2, ME, Now(0, NOW_S * 1000))
    true = found if isinstance(found, Signers) else None
    refused = RequestCheck(POOL, lambda made: true, Book(current)).refusal(entry, record, offer)
    assert refused is not None
    assert not refused.waits


@pytest.mark.parametrize(
    "record",
    [
        claimed(signed(Action.BAN), STRANGER),
        claimed(signed(Action.BAN), PROVIDER),
        claimed(signed(Action.DRAIN, target="no node"), PROVIDER),
        claimed(signed(Action.DRAIN, target="0x" + "0f" * 20), PROVIDER),
        claimed(signed(Action.BAN, GOOD), FRIEND, STRANGER),
        claimed(signed(Action.DRAIN, GOOD), FRIEND, PROVIDER),
    ],
)
def test_who_has_no_right_by_our_roster_waits(record: RequestApplied) -> None:
    """A roster that is old, or none, says nothing of that: only the signature counts then."""
    refused = checked(record)
    assert refused is not None
    assert refused.waits
    assert checked(record, current=False) is None
    assert checked(record, current=False, found=Signers(MANAGER)) is not None


def test_no_copy_is_adopted_by_what_is_no_submission() -> None:
    """Nor by one that somebody else signed than the entry names."""
    name = AllocationId(TaskId(bytes(16)), 0)

    def adopted(action: Action, signer: Address) -> Adopted:
        return Adopted(NODE, name, 1, signed(action), (), signer)

    assert checked(adopted(Action.SUBMIT, MANAGER)) is None
    for record, found in (
        (adopted(Action.BAN, MANAGER), None),
        (adopted(Action.SUBMIT, MANAGER), Signers(STRANGER)),
    ):
        refused = checked(record, found=found)
        assert refused is not None
        assert not refused.waits


# --- how long ---------------------------------------------------------------------------------


@attrs.define
class Waits:
    """A follower, and an entry of term 2 by a stranger that ME wrote as the leader of that term."""

    check: RequestCheck = attrs.field(
        factory=lambda: RequestCheck(POOL, lambda made: Signers(STRANGER), Book())
    )

    led: dict[int, StoreId] = attrs.field(factory=lambda: {2: ME.store_id, 4: ME.store_id})

    def offered(self, by: Voter, term: int, at_ms: int, entry_term: int = 2, index: int = 5) -> str:
        entry = Entry(index, entry_term, EntryKind.REQUEST, 0, b"")
        offer = Offer(term, by, Now(at_ms, NOW_S * 1000 + at_ms), self.led)
        refused = self.check.refusal(entry, claimed(signed(Action.BAN), STRANGER), offer)
        if refused is None:
            return "taken"
        return "waits" if refused.waits else "refused"


DOUBTED, TAKEN = limits.REQUEST_DOUBTED_AFTER_MS, limits.REQUEST_TAKEN_AFTER_MS
LATE = limits.REQUEST_TAKEN_LATE_AFTER_MS


def test_a_leader_that_goes_on_offering_its_own_is_doubted() -> None:
    """In its term and, elected anew, in a later one; for ever."""
    waits = Waits()
    assert waits.offered(ME, 2, 0) == "waits"
    assert waits.offered(ME, 2, DOUBTED - 1) == "waits"
    assert waits.offered(ME, 2, DOUBTED) == "refused"
    assert waits.offered(ME, 7, 10 * TAKEN) == "refused"
    assert len(waits.check.told) == 1


def test_what_another_leader_took_over_is_taken_in_the_end() -> None:
    """It judged the entry itself, and has no way to drop it."""
    waits = Waits()
    waits.offered(ME, 2, 0)
    assert waits.offered(NEXT, 3, TAKEN - 1) == "waits"
    assert waits.offered(NEXT, 3, TAKEN) == "taken"


def test_what_follows_in_what_was_taken_over_does_not_wait_again() -> None:
    """A lost leader's last minute of requests would take three minutes each. Another term's, or
    what another leader offers, waits anew."""
    waits = Waits()
    waits.offered(ME, 2, 0)
    assert waits.offered(NEXT, 3, TAKEN) == "taken"
    assert waits.offered(NEXT, 3, TAKEN, index=6) == "taken"
    assert waits.offered(NEXT, 5, TAKEN, index=7) == "waits"
    assert waits.offered(NEXT, 5, TAKEN, 4, index=8) == "waits"


def test_what_a_leader_of_unknown_name_wrote_is_taken_late() -> None:
    """It may be the very one that offers it; but who needs this voter cannot drop it."""
    for by in (ME, NEXT):
        waits = Waits(led={})
        waits.offered(ME, 3, 0)
        assert waits.offered(by, 3, LATE - 1) == "waits"
        assert waits.offered(by, 4, LATE) == "taken"


def test_another_entry_waits_anew() -> None:
    """What a liar writes again is not older for what it wrote before."""
    waits = Waits()
    waits.offered(ME, 2, 0)
    assert waits.offered(ME, 4, 2 * TAKEN, entry_term=4) == "waits"
    assert waits.offered(NEXT, 5, 2 * TAKEN + 1, entry_term=4) == "waits"


def test_a_liar_that_takes_turns_fills_no_log() -> None:
    """People are told once in two minutes, whatever has to wait."""
    waits = Waits()
    for n in range(100):
        waits.offered(ME, 4, n, entry_term=2 + 2 * (n % 2))
    assert len(waits.check.told) == 1


def test_signatures_beyond_the_budget_wait() -> None:
    """A leader costs a follower no more than so many; each is asked for once it is due."""
    asked: list[SignedRequest] = []

    def recovers(made: SignedRequest) -> Signers:
        asked.append(made)
        return Signers(MANAGER)

    check = RequestCheck(POOL, recovers, Book())
    entry = Entry(5, 2, EntryKind.REQUEST, 0, b"")
    record = claimed(signed(Action.BAN), MANAGER)
    offer = Offer(2, ME, Now(0, NOW_S * 1000))
    for _ in range(limits.APPEND_SIGNATURES_BURST):
        assert check.refusal(entry, record, offer) is None
    refused = check.refusal(entry, record, offer)
    assert refused is not None
    assert refused.waits
    assert len(asked) == limits.APPEND_SIGNATURES_BURST
    later = attrs.evolve(offer, now=Now(1_000, NOW_S * 1000))
    assert check.refusal(entry, record, later) is None
    check.refusal(entry, claimed(signed(Action.BAN), STRANGER), later)
    assert len(asked) == limits.APPEND_SIGNATURES_BURST + 1, "who waits for a right costs nothing"


# --- in a log ---------------------------------------------------------------------------------


def follower(level: FeatureLevel = DISTRUST_LEVEL) -> PoolLog:
    """A voter that knows that the manager signed whatever it is shown."""
    pool_log = led_voter(level)
    pool_log.request_check = RequestCheck(POOL, lambda made: Signers(MANAGER), Book())
    return pool_log


def give(pool_log: PoolLog, *bodies: tuple[int, bytes], at_ms: int = 50) -> AppendAnswered | None:
    """The leader's next entries; the follower's answer."""
    assert pool_log.raft is not None
    s = pool_log.raft.state
    last = s.log.last_index
    some = tuple(Entry(last + n, 1, kind, 0, body) for n, (kind, body) in enumerate(bodies, 1))
    frame = AppendRequested(s.log_id, 1, ME, s.me, last, 1, last, 1, some)
    pool_log.send = []
    pool_log.receive(frame, ME.peer_key, Now(at_ms, NOW_S * 1000))
    said = [m for _, m in pool_log.send if isinstance(m, AppendAnswered)]
    return said[0] if said else None


BAN = encode_body(claimed(signed(Action.BAN), MANAGER))
STRANGERS = encode_body(claimed(signed(Action.BAN), STRANGER))
BY_NOBODY = encode_body(claimed(signed(Action.BAN, GOOD), FRIEND, MANAGER))


def test_what_comes_before_an_entry_that_waits_is_appended() -> None:
    """The follower says how far its log goes, and is no less in touch with its leader."""
    pool_log = follower()
    answer = give(pool_log, BAN, STRANGERS, BAN)
    assert answer is not None
    assert (answer.ok, answer.match_index, pool_log.last_index) == (False, 2, 2)
    assert pool_log.leader == ME.node_id
    assert pool_log.entries_refused == []


def test_a_false_signer_is_the_end_of_a_leaders_term() -> None:
    """No answer, and a reason for people."""
    pool_log = follower()
    assert give(pool_log, BAN, BY_NOBODY) is None
    assert pool_log.last_index == 1
    assert [why for _, why in pool_log.entries_refused] == [
        "another account signed a request than the one it names"
    ]


@pytest.mark.parametrize("body", [STRANGERS, BY_NOBODY])
def test_what_a_quorum_certified_is_taken(body: tuple[int, bytes]) -> None:
    """Neither signature nor right is asked for then."""
    pool_log = follower()
    assert pool_log.raft is not None
    pool_log.raft.state.certified_index = 2
    answer = give(pool_log, body)
    assert answer is not None
    assert answer.ok


UNSIGNED = [
    encode_body(Setting("timing", "wan")),
    encode_body(Revocation(FRIEND, 1, True, Digest(bytes(32)))),
]


@pytest.mark.parametrize("body", [STRANGERS, BY_NOBODY, *UNSIGNED])
def test_earlier_levels_take_a_leaders_word(body: tuple[int, bytes]) -> None:
    """Leaders of earlier versions are judged as they always were."""
    answer = give(follower(BASE_LEVEL), body)
    assert answer is not None
    assert answer.ok


@pytest.mark.parametrize("body", [BY_NOBODY, *UNSIGNED])
def test_what_follows_on_the_level_in_the_same_append_is_judged_by_it(
    body: tuple[int, bytes],
) -> None:
    """Else one voter held what no other takes."""
    raised = encode_body(LevelRaised(DISTRUST_LEVEL, ""))
    assert give(follower(BASE_LEVEL), raised, body) is None


def longer(body: bytes) -> bytes:
    """The same record with a field that only a later version knows."""
    return bytes([body[0] + 1]) + body[1:] + b"\x00"


NEWEST = [
    encode_body(claimed(signed(Action.BAN), MANAGER), DISTRUST_LEVEL),
    encode_body(claimed(signed(Action.BAN, GOOD), FRIEND, MANAGER), DISTRUST_LEVEL),
]


@pytest.mark.parametrize("body", [encode_body(ChangeCertified(3, ())), *NEWEST, *UNSIGNED])
def test_a_later_versions_record_ends_no_agent(body: tuple[int, bytes]) -> None:
    """It is appended, and applies as nothing."""
    pool_log = follower()
    pool_log.opens = lambda sealed: None
    answer = give(pool_log, (body[0], longer(body[1])))
    assert answer is not None
    assert answer.ok


# --- contract accounts ------------------------------------------------------------------------


BLOCK = FinalBlock(40, Digest(b"b" * 32))


@attrs.define
class Word:
    """What the chain says of contract accounts: nothing yet, at first."""

    verdict: Verdict | None = None
    behind: int = 0
    asked: list[bytes] = attrs.field(factory=list)

    def at(
        self, signed: SignedRequest, block: FinalBlock, origin: bytes, now: Now
    ) -> Verdict | None:
        assert block == BLOCK
        self.asked.append(origin)
        return self.verdict

    def behind_ms(self, verdict: Verdict) -> int:
        return self.behind


def by_contract(judged_at: FinalBlock | None = BLOCK) -> RequestApplied:
    made = attrs.evolve(signed(Action.BAN), contract=MANAGER)
    return attrs.evolve(claimed(made, MANAGER), judged_at=judged_at)


def given(word: Word, *, author: int = 2, at_ms: int = 0) -> EntryRefusal | None:
    """A follower's word on an entry of the leader's own term, or of another leader's."""
    check = RequestCheck(POOL, lambda made: Signers(MANAGER), Book(), verdicts=word)
    entry = Entry(5, author, EntryKind.REQUEST, 0, b"")
    led = {1: NEXT.store_id}
    offer = Offer(2, ME, Now(0, NOW_S * 1000), led)
    check.refusal(entry, by_contract(), offer)
    return check.refusal(entry, by_contract(), attrs.evolve(offer, now=Now(at_ms, NOW_S * 1000)))


@pytest.mark.parametrize("author", [2, 1])
def test_a_contracts_request_is_taken_once_our_chain_says_yes(author: int) -> None:
    """Not before: it waits, at the cost of the leader that offers it."""
    word = Word()
    refused = given(word, author=author)
    assert refused is not None
    assert refused.waits
    assert word.asked == [ME.peer_key] * 2
    word.verdict = Verdict(Validity.VALID)
    assert given(word, author=author) is None


@pytest.mark.parametrize("author", [2, 1])
@pytest.mark.parametrize("validity", [Validity.UNKNOWN, Validity.INVALID])
def test_time_makes_no_yes(validity: Validity, author: int) -> None:
    """Neither of a no nor of not knowing, whoever offers it, however long."""
    word = Word(Verdict(validity, "why"))
    for at_ms in (0, limits.REQUEST_TAKEN_AFTER_MS, limits.REQUEST_TAKEN_LATE_AFTER_MS * 2):
        refused = given(word, author=author, at_ms=at_ms)
        assert refused is not None
        doubted = validity is Validity.INVALID and author == 2 and at_ms > 0
        assert refused.waits is not doubted
        assert refused.may_pass or validity is Validity.UNKNOWN or author == 1


def test_what_is_written_now_is_judged_at_a_block_of_now() -> None:
    """A verdict of long ago is no reason to take it; of what another leader wrote it may be."""
    word = Word(Verdict(Validity.VALID), limits.CONTRACT_BLOCK_AGE_MAX_MS + 1)
    refused = given(word)
    assert refused is not None
    assert "too long ago" in refused.why
    assert given(word, author=1) is None


@pytest.mark.parametrize(
    "record",
    [by_contract(None), attrs.evolve(claimed(signed(Action.BAN), MANAGER), judged_at=BLOCK)],
    ids=["no block", "no contract"],
)
def test_a_block_stands_where_a_contract_signed_and_nowhere_else(record: RequestApplied) -> None:
    """No honest leader writes otherwise, so it is refused for good."""
    refused = checked(record, found=Signers(MANAGER))
    assert refused is not None
    assert not refused.waits
