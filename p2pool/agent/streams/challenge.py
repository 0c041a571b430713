"""A validator challenges this node's GPUs: one challenge at a time, from its proposal to a verdict.

Intuition: a stranger wants the node to work for a minute, for nothing. So first the things that
cost nothing are asked (does the owner allow it, is there a GPU, is one leased), then what the chain
says of the account, at the stranger's expense. Then a prover gets the GPUs, and the rest follows
from what both sides sign (`proofs.validation.answers`).

Invariants: a GPU that a task has is never challenged, and a task that is given one ends the
challenge before its container starts (`give_way`). Nothing runs before the chain has named the
account a validator, and no plan before that account signed it. Every wait has an end, and the whole
has one; whatever ends it, the prover's container is gone before the GPUs count as free again. The
work is the prover's: here frames are sealed, and nothing is computed.
Source: docs/design/validation.md, "The node's side".
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol, TypeVar

import attrs
import trio
from nacl.signing import SigningKey

from p2pool.agent.clock import read_clock
from p2pool.agent.streams.challenge_rate import ChallengeRate
from p2pool.agent.streams.conversation import Conversation
from p2pool.agent.streams.leases import Leases
from p2pool.agent.streams.openings import parts_of
from p2pool.agent.streams.prover_runs import ProverRuns, ProverSession, digest_in
from p2pool.agent.streams.validator_check import ValidatorCheck
from p2pool.codec.json.hex import address_text
from p2pool.codec.text.clip import clipped
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.config.schema import ChallengeConfig
from p2pool.model import limits
from p2pool.model.errors import (
    DiskFull,
    Misconfigured,
    NotForUs,
    P2poolError,
    Refusal,
    RuntimeUnavailable,
    Unavailable,
)
from p2pool.model.ids import DIGEST_BYTES, Address, Digest, NodeId, PeerKey, PoolRef
from p2pool.model.machine.hardware import Gpu
from p2pool.model.messages.challenge import (
    ChallengeAccepted,
    ChallengeDeclined,
    ChallengeIssued,
    ChallengeProposed,
    CommitmentMade,
    DeclineCode,
    QuestionAsked,
    SecretRevealed,
    VerdictTold,
)
from p2pool.model.messages.registry import Message
from p2pool.model.ports.agent import ChallengeStatus
from p2pool.model.validation.verdict import SignedVerdict
from p2pool.proofs.validation.answers import (
    NodeAnswers,
    ProverRequest,
    Share,
    check_claims,
    positions_in,
)
from p2pool.proofs.validation.seeds import check_addressed
from p2pool.wire.validation.evidence import check_challenge, sign_commitment
from p2pool.wire.validation.verdict import check_verdict

log = get_logger(__name__)

M = TypeVar("M", bound=Message)

DECLINED = "declined_"
"""What counts what was declined, before the code."""
PROVERS_FAULTS = (RuntimeUnavailable, DiskFull, Misconfigured, Refusal)
"""What the engine and the prover raise; a validator that goes away is `Unavailable`."""


class MachineView(Protocol):
    """What this node claims, and what tasks have of it."""

    def claimed(self) -> tuple[Gpu, ...]:
        """The GPUs that it claims."""
        ...

    def leases(self) -> Leases:
        """The GPUs that tasks have."""
        ...


@attrs.frozen
class Identity:
    """Who is challenged. `draw`: so many bytes that nobody foresees."""

    pool: PoolRef
    node_id: NodeId
    key: SigningKey = attrs.field(repr=False)
    draw: Callable[[int], bytes] = attrs.field(repr=False)

    @property
    def peer_key(self) -> PeerKey:
        """The key that signs commitments."""
        return PeerKey(bytes(self.key.verify_key))


class _Declined(Exception):
    """Ends a challenge with a word to the validator."""

    def __init__(self, code: DeclineCode, reason: str, retry_at_ms: int = 0) -> None:
        super().__init__(reason)
        self.code, self.reason, self.retry_at_ms = code, reason, retry_at_ms


@attrs.define
class _Run:
    """The challenge that runs. `why`: what ended it from outside; `over`: its prover is gone."""

    gpus: frozenset[str]
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    over: trio.Event = attrs.field(factory=trio.Event)
    why: _Declined | None = None


@attrs.define
class _Inbox:
    """What the validator says while a challenge goes on, each in its turn."""

    receive: trio.MemoryReceiveChannel[Message]

    async def next(self, wanted: type[M]) -> M:
        """The next message, which has to be of a class."""
        message = await self.receive.receive()
        if not isinstance(message, wanted):
            said = type(message).__name__
            why = f"{said} is not what follows: {wanted.__name__} is."
            raise _Declined(DeclineCode.NOT_FOR_US, why)
        return message


class ChallengeServer:
    """The challenges of one agent."""

    def __init__(
        self,
        me: Identity,
        config: ChallengeConfig,
        machine: MachineView,
        runs: ProverRuns,
        validators: ValidatorCheck,
    ) -> None:
        """`validators`: who may challenge; `runs`: what with."""
        self.counters: Counter[str] = Counter()
        self.heard: Callable[[SignedVerdict], None] = lambda verdict: None
        """Takes the verdict that a validator tells this node of itself."""
        self._me, self._config, self._machine = me, config, machine
        self._runs, self._validators = runs, validators
        self._rate = ChallengeRate(config.apart_s * 1000, config.per_hour)
        self._run: _Run | None = None
        self._told: SignedVerdict | None = None

    @property
    def status(self) -> ChallengeStatus:
        """How challenges have gone."""
        declined = {
            event.removeprefix(DECLINED): count
            for event, count in sorted(self.counters.items())
            if event.startswith(DECLINED)
        }
        told = self._told.verdict if self._told is not None else None
        return ChallengeStatus(
            off=self._off(),
            running=self.busy,
            served=self.counters["served"],
            declined=tuple(declined.items()),
            last_validator=told.validator if told is not None else None,
            last_conclusion=told.conclusion.value if told is not None else "",
            last_at_ms=told.concluded_at_ms if told is not None else 0,
        )

    def _off(self) -> str:
        """Why no challenge is taken, if none is."""
        if not self._config.enabled:
            return "[challenge] enabled is false"
        return "" if self._runs.images else self._runs.why_none

    @property
    def busy(self) -> bool:
        """Whether a challenge has the GPUs."""
        return self._run is not None

    async def give_way(self, gpus: Sequence[str]) -> None:
        """A task is given these GPUs: end the challenge that has one, and wait until its prover is
        gone."""
        run = self._run
        if run is None or run.gpus.isdisjoint(gpus):
            return
        if run.why is None:
            run.why = self._leased()
            run.scope.cancel()
            log.info("a challenge gives way to a task")
        with trio.move_on_after(2 * limits.KILL_DEADLINE_MS / 1000):
            await run.over.wait()

    async def serve(self, proposed: ChallengeProposed, talk: Conversation) -> None:
        """Serve a stream that proposes a challenge, to its end."""
        assert talk.account is not None
        validator = Address(bytes(talk.account))
        try:
            image, claims = await self._admitted(proposed, validator, talk.peer_key)
            await self._challenged(validator, talk, image, claims)
        except _Declined as declined:
            self.counters[f"{DECLINED}{declined.code}"] += 1
            log.info(
                "a challenge is declined",
                validator=address_text(validator),
                code=declined.code.value,
                why=declined.reason,
            )
            reason = clipped(declined.reason, limits.TEXT_MAX_BYTES)
            await talk.send(ChallengeDeclined(declined.code, reason, declined.retry_at_ms))

    # --- whether ----------------------------------------------------------------------------------

    async def _admitted(
        self, proposed: ChallengeProposed, validator: Address, asker: PeerKey
    ) -> tuple[str, tuple[Gpu, ...]]:
        """The image and the GPUs of a challenge that may begin."""
        if not self._config.enabled:
            raise _Declined(DeclineCode.OFF, "The owner of this node takes no challenges.")
        image = self._runs.chosen(proposed.images)
        if image is None:
            why = "This node may run none of the provers' images that are accepted."
            raise _Declined(DeclineCode.NO_PROVER, why)
        await self._check_role(validator, asker)
        now = read_clock()
        next_ms = self._rate.next_ms(validator, now.mono_ms)
        if next_ms > now.mono_ms:
            retry_ms = now.wall_ms + next_ms - now.mono_ms
            raise _Declined(DeclineCode.TOO_OFTEN, "The owner allows no more so soon.", retry_ms)
        with _blamed(DeclineCode.NO_PROVER):
            if why := await self._runs.why_not(image):
                retry_ms = read_clock().wall_ms + limits.PROVER_FETCH_RETRY_MS
                text = f"The prover's image is not on this node: {why}"
                raise _Declined(DeclineCode.NO_PROVER, text, retry_ms)
        return image, self._machine.claimed()

    async def _check_role(self, validator: Address, asker: PeerKey) -> None:
        try:
            holds = await self._validators.is_validator(validator, asker, read_clock().mono_ms)
        except Unavailable as error:
            retry_ms = read_clock().wall_ms + limits.NO_VALIDATOR_KEPT_MS
            raise _Declined(DeclineCode.ROLE_UNKNOWN, error.message, retry_ms) from error
        if not holds:
            text = "By the chain, this account is no validator of the network."
            raise _Declined(DeclineCode.NOT_VALIDATOR, text)

    def _leased(self) -> _Declined:
        until_ms = self._machine.leases().until_ms
        return _Declined(DeclineCode.LEASED, "A task has a GPU of this node.", until_ms)

    def _begin(self, validator: Address, claims: tuple[Gpu, ...]) -> _Run:
        """Take the GPUs, if nobody has them: nothing is waited for from here to the end."""
        if not claims:
            raise _Declined(DeclineCode.NO_GPUS, "This node claims no GPU.")
        uuids = frozenset(gpu.uuid for gpu in claims)
        if not self._machine.leases().gpus.isdisjoint(uuids):
            raise self._leased()
        if self._run is not None:
            retry_ms = read_clock().wall_ms + limits.PROVER_START_MS
            raise _Declined(DeclineCode.BUSY, "Another challenge is running.", retry_ms)
        self._rate.begin(validator, read_clock().mono_ms)
        self._run = _Run(uuids)
        return self._run

    # --- the whole of it --------------------------------------------------------------------------

    async def _challenged(
        self, validator: Address, talk: Conversation, image: str, claims: tuple[Gpu, ...]
    ) -> None:
        run = self._begin(validator, claims)
        declined: _Declined | None = None
        try:
            async with trio.open_nursery() as nursery:
                send, receive = trio.open_memory_channel[Message](1)
                nursery.start_soon(self._listen, talk, send, run)
                inbox = _Inbox(receive)
                work = partial(self._with_prover, validator, talk, inbox, image, claims)
                declined = await self._within(run, work)
                if declined is None:
                    await self._hear_verdict(validator, inbox)
                nursery.cancel_scope.cancel()
        finally:
            self._ended(run)
        if declined is not None:
            raise declined

    async def _within(self, run: _Run, work: Callable[[], Awaitable[None]]) -> _Declined | None:
        """Do the work for as long as it may have the GPUs; why it was not done, if it was not."""
        began_ms, declined = read_clock().mono_ms, None
        run.scope.deadline = trio.current_time() + self._config.most_s
        try:
            with run.scope:
                await work()
                self.counters["served"] += 1
        except _Declined as ended:
            declined = ended
        finally:
            self._ended(run)
            self.counters["milliseconds"] += read_clock().mono_ms - began_ms
        if run.scope.cancelled_caught:
            why = f"It has had the GPUs for the {self._config.most_s} s that the owner allows."
            declined = run.why or _Declined(DeclineCode.FAILED, why)
        return declined

    def _ended(self, run: _Run) -> None:
        run.over.set()
        if self._run is run:
            self._run = None

    async def _listen(
        self, talk: Conversation, send: trio.MemorySendChannel[Message], run: _Run
    ) -> None:
        """Read what the validator says, and notice when it goes, whatever the prover is doing."""
        while True:
            most_ms = self._config.most_s * 1000 + limits.CHALLENGE_VERDICT_MS
            message = await talk.receive(most_ms)
            if message is None and run.over.is_set():
                send.close()
                return
            if message is None:
                raise Unavailable("The validator ended the challenge.")
            try:
                send.send_nowait(message)
            except trio.WouldBlock as error:
                raise NotForUs("The validator speaks before its turn.") from error

    async def _with_prover(
        self,
        validator: Address,
        talk: Conversation,
        inbox: _Inbox,
        image: str,
        claims: tuple[Gpu, ...],
    ) -> None:
        """From the prover's start to the last opening; the prover is gone after it."""
        code = DeclineCode.NO_PROVER
        try:
            async with self._runs.begin(image, claims) as prover:
                with _in_time(limits.PROVER_START_MS, "list its devices"):
                    listed = await prover.devices()
                shown = tuple(gpu for gpu in claims if gpu.uuid in listed)
                if not shown:
                    text = "The prover sees none of the GPUs that this node claims."
                    raise _Declined(DeclineCode.NO_GPUS, text)
                code = DeclineCode.FAILED
                accepted = ChallengeAccepted(self._nonce(), digest_in(image), shown)
                await talk.send(accepted)
                with _in_time(limits.CHALLENGE_ISSUED_MS, "come", DeclineCode.NOT_FOR_US):
                    issued = await inbox.next(ChallengeIssued)
                answers = self._checked(validator, talk.peer_key, accepted, issued, listed)
                await self._answer(talk, inbox, prover, answers)
        except PROVERS_FAULTS as error:
            log.warning("the prover failed in a challenge", image=image, why=str(error))
            raise _Declined(code, error.message) from error

    def _nonce(self) -> Digest:
        return Digest(self._me.draw(DIGEST_BYTES))

    def _checked(
        self,
        validator: Address,
        peer_key: PeerKey,
        accepted: ChallengeAccepted,
        issued: ChallengeIssued,
        listed: tuple[str, ...],
    ) -> NodeAnswers:
        """The answers to a challenge that is to this node, on this stream, by this validator, and
        asks for nothing that was not offered."""
        challenge, me = issued.challenge, self._me
        with _blamed(DeclineCode.NOT_FOR_US):
            check_addressed(challenge, me.pool, me.node_id, me.peer_key, accepted.node_nonce)
            if (challenge.validator, challenge.validator_peer) != (validator, peer_key):
                raise NotForUs("The challenge is another validator's, or another peer key's.")
            if challenge.image != accepted.image:
                raise NotForUs("The challenge is for another image than runs.")
            check_claims(challenge.plan, accepted.gpus)
            check_challenge(challenge, issued.signature)
            return NodeAnswers(challenge, positions_in(challenge.plan, listed))

    # --- its steps --------------------------------------------------------------------------------

    async def _answer(
        self, talk: Conversation, inbox: _Inbox, prover: ProverSession, answers: NodeAnswers
    ) -> None:
        plan = answers.challenge.plan
        await self._commit(talk, prover, answers, answers.preparations(), plan.due_ms(0))
        for step in range(1, plan.steps):
            question = (await inbox.next(QuestionAsked)).question
            with _blamed(DeclineCode.NOT_FOR_US):
                request = answers.round(question)
            await self._commit(talk, prover, answers, [request], plan.due_ms(step))
        secret = (await inbox.next(SecretRevealed)).secret
        with _blamed(DeclineCode.NOT_FOR_US):
            requests = answers.opening_requests(secret)
        with _in_time(plan.openings_due_ms, "open what was drawn"):
            shown = [await prover.perform(request) for request in requests]
        openings = await trio.to_thread.run_sync(answers.openings, shown, abandon_on_cancel=True)
        for part in parts_of(openings):
            await talk.send(part)

    async def _commit(
        self,
        talk: Conversation,
        prover: ProverSession,
        answers: NodeAnswers,
        requests: Sequence[ProverRequest],
        due_ms: int,
    ) -> None:
        """Do the work of a step, and sign what came of it."""
        shares: Sequence[Share] = ()
        with _in_time(limits.CHALLENGE_PATIENCE * due_ms, "do a step"):
            for request in requests:
                shares = await prover.perform(request)
        made = answers.commitment(shares)
        await talk.send(CommitmentMade(sign_commitment(self._me.key, made)))

    async def _hear_verdict(self, validator: Address, inbox: _Inbox) -> None:
        """What the validator concludes. Nobody has to say it, and a lie is not heard."""
        with trio.move_on_after(limits.CHALLENGE_VERDICT_MS / 1000):
            try:
                told = (await inbox.next(VerdictTold)).verdict
                check_verdict(self._me.pool, told)
                if (told.verdict.validator, told.verdict.node_id) != (validator, self._me.node_id):
                    raise NotForUs("The verdict is on another node, or another validator's.")
            except trio.EndOfChannel:
                self.counters["without_verdict"] += 1
                return
            except (_Declined, P2poolError) as error:
                self.counters["bad_verdict"] += 1
                log.info("a validator tells a verdict that is none", why=str(error))
                return
            self.counters[f"concluded_{told.verdict.conclusion}"] += 1
            log.info(
                "a validator concludes",
                validator=address_text(validator),
                conclusion=told.verdict.conclusion.value,
                evidence=told.verdict.evidence.hex(),
            )
            self._told = told
            self.heard(told)
            return
        self.counters["without_verdict"] += 1


@contextmanager
def _blamed(code: DeclineCode) -> Iterator[None]:
    """What goes wrong in the block is told as this."""
    try:
        yield
    except P2poolError as error:
        raise _Declined(code, error.message) from error


@contextmanager
def _in_time(most_ms: int, what: str, code: DeclineCode = DeclineCode.FAILED) -> Iterator[None]:
    """The block ends in time, or the challenge does."""
    with trio.move_on_after(most_ms / 1000) as scope:
        yield
    if scope.cancelled_caught:
        who = "The prover" if code is DeclineCode.FAILED else "The challenge"
        raise _Declined(code, f"{who} did not {what} within {most_ms / 1000:g} s.")
