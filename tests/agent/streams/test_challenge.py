"""A node goes through with a validator's challenge, or says why not; a task always comes first."""

from typing import Any

import attrs
import pytest
import trio
from nacl.signing import SigningKey

from p2pool.agent.streams.leases import Leases
from p2pool.drivers.config.schema import ChallengeConfig
from p2pool.model import limits
from p2pool.model import messages as m
from p2pool.model.errors import ChainUnavailable, NoGpuSupport, RuntimeUnavailable
from p2pool.model.ids import Address, Digest, NodeId
from p2pool.model.messages.challenge import DeclineCode
from p2pool.model.validation.evidence import Conclusion
from p2pool.model.validation.verdict import SignedVerdict
from p2pool.wire.validation.evidence import sign_challenge
from tests.agent.streams.doubles import (
    ACCOUNT,
    DIGEST,
    IMAGE,
    NODE,
    VALIDATOR_KEY,
    Machine,
    Place,
    Runs,
    Validator,
    propose,
)
from tests.validator.harness.nodes import VALIDATOR, claims_of
from tests.wire.samples import ACCOUNT as STRANGER

OPEN = ChallengeConfig(images=(IMAGE,), apart_s=0)


async def test_an_honest_node_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way, with two cards, openings in several parts, and the verdict at the end."""
    monkeypatch.setattr(limits, "CHALLENGE_PART_MAX_BYTES", 1_000)
    runs = Runs(devices=("GPU-1", "GPU-0"))
    place = Place(runs=runs, machine=Machine(tuple(claims_of(2))))
    told: list[SignedVerdict] = []
    place.server.heard = told.append
    async with place.stream() as talk:
        validator = Validator(talk)
        evidence = await validator.challenge()
        assert not isinstance(evidence, m.ChallengeDeclined), evidence
        assert evidence.conclusion is Conclusion.VALID, evidence.faults
        assert validator.parts > 3
        await validator.tell(evidence)
        assert await talk.receive(10_000) is None
    assert (len(runs.began), runs.ended, place.server.busy) == (1, 1, False)
    assert [one.verdict.conclusion for one in told] == [Conclusion.VALID]
    counted = dict(place.server.counters)
    counted.pop("milliseconds")
    assert counted == {"served": 1, "concluded_valid": 1}
    assert runs.began == [(IMAGE, ("GPU-0", "GPU-1"), 0)]
    status = place.server.status
    assert (status.off, status.served, status.last_conclusion) == ("", 1, "valid")
    assert status.last_validator == ACCOUNT


async def declined(place: Place, **stream: Any) -> m.ChallengeDeclined:
    """Why a challenge does not begin."""
    async with place.stream(**stream) as talk:
        answer = await propose(talk)
        assert await talk.receive(10_000) is None
    assert isinstance(answer, m.ChallengeDeclined), answer
    assert place.server.counters[f"declined_{answer.code}"] == 1
    return answer


@pytest.mark.parametrize(
    ("place", "code"),
    [
        (lambda: Place(attrs.evolve(OPEN, enabled=False)), DeclineCode.OFF),
        (lambda: Place(attrs.evolve(OPEN, images=())), DeclineCode.NO_PROVER),
        (lambda: Place(runs=None), DeclineCode.NO_PROVER),
        (lambda: Place(roles={}), DeclineCode.NOT_VALIDATOR),
        (lambda: Place(roles={ACCOUNT: ChainUnavailable("It is away.")}), DeclineCode.ROLE_UNKNOWN),
        (lambda: Place(affords=False), DeclineCode.ROLE_UNKNOWN),
        (lambda: Place(machine=Machine(())), DeclineCode.NO_GPUS),
        (lambda: Place(runs=Runs(devices=("CPU-0",))), DeclineCode.NO_GPUS),
        (lambda: Place(runs=Runs(fails=RuntimeUnavailable("Away."))), DeclineCode.NO_PROVER),
        (lambda: Place(runs=Runs(fails=NoGpuSupport("No hook."))), DeclineCode.NO_PROVER),
        (lambda: Place(runs=Runs(spoil=lambda _: b"[]")), DeclineCode.NO_PROVER),
        (lambda: Place(runs=Runs(spoil=lambda _: b"\xff")), DeclineCode.NO_PROVER),
        (lambda: Place(runs=Runs(spoil=lambda _: {"id": 9})), DeclineCode.NO_PROVER),
        (lambda: Place(runs=Runs(spoil=lambda a: {**a, "devices": 1})), DeclineCode.NO_PROVER),
    ],
)
async def test_what_cannot_be_challenged_says_why(place: Any, code: DeclineCode) -> None:
    """By a code for the validator, and nothing is left running."""
    made = place()
    assert (await declined(made)).code == code
    assert not made.server.busy
    assert made.server.status.declined == ((code.value, 1),)
    assert bool(made.server.status.off) is (not made.prover_runs.images or code == DeclineCode.OFF)
    assert made.runs is None or made.runs.ended == len(made.runs.began)


async def test_leased_gpus_are_not_challenged() -> None:
    """One of two is enough; the validator learns when it is free, if anybody knows."""
    place = Place(machine=Machine(tuple(claims_of(2)), Leases(frozenset({"GPU-1"}), 12_345)))
    answer = await declined(place)
    assert (answer.code, answer.retry_at_ms) == (DeclineCode.LEASED, 12_345)
    assert place.runs is not None
    assert not place.runs.began


async def test_an_image_that_is_not_here_is_fetched_meanwhile() -> None:
    """The validator is told to come back, and finds it."""
    runs = Runs(here=False)
    place = Place(runs=runs)
    answer = await declined(place)
    assert answer.code == DeclineCode.NO_PROVER
    assert answer.retry_at_ms > 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(place.prover_runs.run)
        while not runs.fetched:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert runs.fetched == [IMAGE]
    async with place.stream() as talk:
        assert isinstance(await Validator(talk).challenge(), object)
    assert place.server.counters["served"] == 1


async def test_only_images_that_both_name_run() -> None:
    """The first of the owner's that the validator accepts."""
    other = "sha256:" + "b" * 64
    runs = Runs()
    place = Place(attrs.evolve(OPEN, images=(other, IMAGE)), runs=runs)
    async with place.stream() as talk:
        accepted = await propose(talk, DIGEST, "sha256:" + "c" * 64)
        assert accepted.image == DIGEST
    async with place.stream() as talk:
        answer = await propose(talk, "sha256:" + "c" * 64)
        assert answer.code == DeclineCode.NO_PROVER
    assert [image for image, _, _ in runs.began] == [IMAGE]


# --- who, and how often -------------------------------------------------------------------------


async def test_the_chain_is_asked_once_in_a_while_at_the_askers_cost() -> None:
    """A validator once, whoever comes in its name; a stranger that asks again costs nothing new."""
    place = Place()
    stranger = Address(bytes.fromhex(STRANGER.address[2:]))
    other = SigningKey(bytes([3]) * 32)
    for _ in range(3):
        async with place.stream() as talk:
            await Validator(talk).challenge()
        async with place.stream(key=other, account=stranger) as talk:
            assert (await propose(talk)).code == DeclineCode.NOT_VALIDATOR
    assert place.asked == [ACCOUNT, stranger]
    assert len(place.charged) == 2


async def test_a_validator_has_to_wait_between_two() -> None:
    """It is told until when; a challenge that did not begin does not count."""
    place = Place(attrs.evolve(OPEN, apart_s=600))
    place.machine.leased = Leases(frozenset({"GPU-0"}))
    assert (await declined(place)).code == DeclineCode.LEASED
    place.machine.leased = Leases()
    async with place.stream() as talk:
        await Validator(talk).challenge()
    answer = await declined(place)
    assert answer.code == DeclineCode.TOO_OFTEN
    assert answer.retry_at_ms > 0


async def test_one_challenge_at_a_time() -> None:
    """The second validator is told to come back, and the first one is not disturbed."""
    runs = Runs(hold="multiply")
    place = Place(runs=runs)
    other = Address(bytes([4]) * 20)
    place.roles[other] = True
    async with place.stream() as talk, trio.open_nursery() as nursery:
        found: list[Any] = []

        async def first() -> None:
            found.append(await Validator(talk).challenge())

        nursery.start_soon(first)
        await runs.held.wait()
        answer = await declined(place, key=SigningKey(bytes([3]) * 32), account=other)
        assert answer.code == DeclineCode.BUSY
        runs.go.set()
    assert found[0].conclusion is Conclusion.VALID


# --- what comes between -------------------------------------------------------------------------


async def test_a_task_ends_a_challenge() -> None:
    """The prover is gone when the task's turn comes, and the validator knows why."""
    runs = Runs(hold="multiply")
    place = Place(runs=runs)
    async with place.stream() as talk, trio.open_nursery() as nursery:
        found: list[Any] = []

        async def challenged() -> None:
            found.append(await Validator(talk).challenge())

        nursery.start_soon(challenged)
        await runs.held.wait()
        place.machine.leased = Leases(frozenset({"GPU-0"}), 99)
        await place.server.give_way(("GPU-7",))
        assert place.server.busy
        await place.server.give_way(("GPU-0",))
        assert (runs.ended, place.server.busy) == (1, False)
    assert (found[0].code, found[0].retry_at_ms) == (DeclineCode.LEASED, 99)


async def test_a_validator_that_leaves_frees_the_gpus_at_once() -> None:
    """Whatever the prover is doing then."""
    runs = Runs(hold="multiply")
    place = Place(runs=runs)
    async with place.stream() as talk, trio.open_nursery() as nursery:
        nursery.start_soon(Validator(talk).challenge)
        await runs.held.wait()
        nursery.cancel_scope.cancel()
    assert (runs.ended, place.server.busy) == (1, False)
    assert place.intake.counters["unavailable"] == 1


async def test_a_challenge_ends_when_it_has_had_its_time(autojump_clock: Any) -> None:
    """A prover that hangs keeps the GPUs for as long as the owner said, at most."""
    runs = Runs(hold="load")
    place = Place(attrs.evolve(OPEN, most_s=10), runs=runs)
    async with place.stream() as talk:
        answer = await Validator(talk).challenge()
    assert isinstance(answer, m.ChallengeDeclined)
    assert answer.code == DeclineCode.FAILED
    assert "10 s" in answer.reason
    assert runs.ended == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda a: {"id": a["id"], "error": "out of memory"} if "shares" in a else a,
        lambda a: {**a, "shares": []} if "shares" in a else a,
        lambda a: {**a, "shares": [{}]} if "shares" in a else a,
        lambda a: {**a, "shares": [{"root": "00", "roots": 3}]} if "shares" in a else a,
        lambda a: {**a, "id": 1} if "shares" in a else a,
    ],
)
async def test_a_prover_that_fails_costs_its_challenge_alone(spoil: Any) -> None:
    """Whatever it says in place of an answer; the next challenge begins as the first one did."""
    runs = Runs(spoil=spoil)
    place = Place(runs=runs)
    async with place.stream() as talk:
        answer = await Validator(talk).challenge()
    assert isinstance(answer, m.ChallengeDeclined)
    assert answer.code == DeclineCode.FAILED
    runs.spoil = lambda a: a
    async with place.stream() as talk:
        evidence = await Validator(talk).challenge()
    assert not isinstance(evidence, m.ChallengeDeclined)
    assert runs.ended == 2


# --- what a validator may not say ---------------------------------------------------------------


def _changed(**fields: Any) -> Any:
    """Changes a challenge, and signs what came of it."""

    def tap(message: m.Message) -> m.Message:
        if not isinstance(message, m.ChallengeIssued):
            return message
        challenge = attrs.evolve(message.challenge, **fields)
        return m.ChallengeIssued(challenge, sign_challenge(VALIDATOR, challenge))

    return tap


def _unsigned(message: m.Message) -> m.Message:
    if not isinstance(message, m.ChallengeIssued):
        return message
    return attrs.evolve(message, signature=sign_challenge(NODE.account, message.challenge))


def _larger(message: m.Message) -> m.Message:
    """A plan that fills more than the card has."""
    if not isinstance(message, m.ChallengeIssued):
        return message
    plan = message.challenge.plan
    work = plan.devices[0]
    memory = attrs.evolve(work.memory, blocks=4_096)
    plan = attrs.evolve(plan, devices=(attrs.evolve(work, memory=memory),))
    tap = _changed(plan=plan)
    changed: m.Message = tap(message)
    return changed


def _skips(message: m.Message) -> m.Message:
    if not isinstance(message, m.QuestionAsked):
        return message
    return m.QuestionAsked(attrs.evolve(message.question, step=message.question.step + 1))


NOTHING = Digest(bytes(32))


@pytest.mark.parametrize(
    "tap",
    [
        _changed(node_nonce=NOTHING),
        _changed(node_id=b"\x01" * 20),
        _changed(image="sha256:" + "c" * 64),
        _changed(validator=Address(b"\x01" * 20)),
        _changed(validator_peer=b"\x01" * 32),
        _unsigned,
        _larger,
        _skips,
        lambda said: m.SecretRevealed(NOTHING) if isinstance(said, m.SecretRevealed) else said,
        lambda said: said if not isinstance(said, m.QuestionAsked) else m.SecretRevealed(NOTHING),
    ],
)
async def test_a_node_answers_no_other_challenge(tap: Any) -> None:
    """To another connection, node or image, by another account, larger than the claim, out of
    order: it says so, and its GPUs are free."""
    place = Place()
    async with place.stream() as talk:
        answer = await Validator(talk, tap).challenge()
    assert isinstance(answer, m.ChallengeDeclined), answer
    assert answer.code == DeclineCode.NOT_FOR_US
    assert place.runs is not None
    assert (place.runs.ended, place.server.busy) == (1, False)


async def test_a_verdict_of_somebody_else_is_not_heard() -> None:
    """It is counted, and the challenge counts all the same."""
    place = Place()
    told: list[Any] = []
    place.server.heard = told.append
    async with place.stream() as talk:
        validator = Validator(talk)
        evidence = await validator.challenge()
        assert not isinstance(evidence, m.ChallengeDeclined)
        challenge = attrs.evolve(evidence.transcript.challenge, node_id=NodeId(b"\x01" * 20))
        transcript = attrs.evolve(evidence.transcript, challenge=challenge)
        await validator.tell(attrs.evolve(evidence, transcript=transcript))
        assert await talk.receive(10_000) is None
    assert told == []
    assert place.server.counters["bad_verdict"] == 1


async def test_who_speaks_before_its_turn_ends_the_stream() -> None:
    """What a validator may have us hold is one frame."""
    runs = Runs(hold="load")
    place = Place(runs=runs)
    async with place.stream() as talk, trio.open_nursery() as nursery:
        nursery.start_soon(Validator(talk).challenge)
        await runs.held.wait()
        for _ in range(3):
            await talk.send(m.SecretRevealed(NOTHING))
        while place.server.busy:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert place.intake.counters["not-for-us"] == 1


async def test_another_first_frame_is_nobodys() -> None:
    """A stream that begins in the middle of a challenge is closed."""
    place = Place()
    async with place.stream(key=VALIDATOR_KEY) as talk:
        await talk.send(m.SecretRevealed(NOTHING))
    assert place.intake.counters == {"not-for-us": 1}
