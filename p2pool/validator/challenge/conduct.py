"""Challenges the nodes of one provider at the same time: the rounds, over real conversations.

Intuition: first everybody is asked whether a challenge is welcome, and what it claims; whoever
accepts gets a plan for that. Then the machine of `rounds` says what to send to whom, and this
carries it out, with the time at which each answer arrived. What comes of it is concluded once all
have ended, because checking rows keeps a processor busy, and would make the others look slow.

Invariants: nothing that a node does, or its network, raises here: it becomes an outcome; every wait
has a deadline; what a node shows is kept up to what was asked of it; all conversations are closed
when it ends. Source: docs/design/validation.md, "Rounds" and "The node's side".
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import attrs
import trio

from p2pool.model import limits
from p2pool.model.errors import NotAllowed, NotFound, P2poolError, Refusal, Unavailable
from p2pool.model.ids import NodeId
from p2pool.model.messages.challenge import (
    ChallengeAccepted,
    ChallengeDeclined,
    ChallengeIssued,
    ChallengeProposed,
    CommitmentMade,
    OpeningsShown,
    QuestionAsked,
    SecretRevealed,
    VerdictTold,
)
from p2pool.model.messages.registry import Message
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.validation.evidence import Transcript
from p2pool.model.validation.transcript import (
    BlockOpening,
    Challenge,
    Openings,
    RowOpening,
)
from p2pool.model.validation.verdict import SignedVerdict
from p2pool.model.validation.work import Plan
from p2pool.validator.challenge import rounds
from p2pool.validator.challenge.figures import FigureTable
from p2pool.validator.challenge.outcome import Outcome, Unchallenged
from p2pool.validator.challenge.plan import Sizes, plan_for
from p2pool.validator.challenge.shown import fits
from p2pool.wire.validation.evidence import verifies

WORD_MS = limits.CHALLENGE_PATIENCE * limits.CHALLENGE_STEP_MAX_MS
"""Longer than the machine waits for any answer: it is the one that gives up."""


class Talks(Protocol):
    """A conversation with one node."""

    async def say(self, message: Message) -> None:
        """Send a frame; `Unavailable` if it breaks."""
        ...

    async def hear(self, deadline_ms: int) -> Message:
        """The next frame; `Unavailable`, or a `Refusal` for what is none."""
        ...

    async def __aexit__(self, kind: None, error: None, trace: None, /) -> None:
        """Close it."""
        ...


class Opens(Protocol):
    """Who reaches nodes."""

    def binding_of(self, node_id: NodeId) -> PeerBinding | None:
        """The binding of a node that is in force."""
        ...

    async def open(self, node_id: NodeId) -> Talks:
        """A conversation; `Unavailable`: it cannot be reached."""
        ...


Settle = Callable[[NodeId, Transcript, PeerBinding], Awaitable[SignedVerdict | None]]
"""Concludes, signs and keeps what came of a challenge; None: it could not."""


Sign = Callable[[Challenge], Awaitable[bytes]]
"""The account's signature under a challenge; an error of ours if it does not sign."""


@attrs.frozen(kw_only=True)
class Means:
    """What a challenge is made with. `images`: digests of the provers' images that are accepted;
    none: any. `entropy`: 32 bytes that nobody else knows, new for each challenge; `wall_ms`: the
    time of day."""

    validator: rounds.Validator
    network: Opens
    table: FigureTable
    settle: Settle
    sign: Sign
    entropy: Callable[[], bytes] = attrs.field(repr=False)
    wall_ms: Callable[[], int]
    sizes: Sizes = Sizes()
    images: tuple[str, ...] = ()


@attrs.frozen
class _Seat:
    """A node that accepted. `binding`: as it was when its stream was opened."""

    node_id: NodeId
    talk: Talks
    binding: PeerBinding
    accepted: ChallengeAccepted
    plan: Plan

    @property
    def openings_max(self) -> int:
        """How many rows and blocks it has to show."""
        return len(self.plan.devices) * (self.plan.products.opened + self.plan.scans.opened)


@attrs.define
class Sitting:
    """One challenge of some nodes; run it once."""

    means: Means
    outcomes: dict[NodeId, Outcome] = attrs.field(factory=dict)
    _talks: list[Talks] = attrs.field(factory=list)
    _seats: dict[NodeId, _Seat] = attrs.field(factory=dict)
    _ended: list[rounds.Ended] = attrs.field(factory=list)

    async def run(self, nodes: Sequence[NodeId]) -> dict[NodeId, Outcome]:
        """What came of each."""
        try:
            async with trio.open_nursery() as nursery:
                for node_id in nodes[: limits.CHALLENGE_NODES_MAX]:
                    nursery.start_soon(self._propose, node_id)
            if self._seats:
                await self._rounds()
            for ended in self._ended:
                await self._settle(ended)
        finally:
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as nursery:
                    for talk in self._talks:
                        nursery.start_soon(talk.__aexit__, None, None, None)
        return self.outcomes

    # --- before ---------------------------------------------------------------------------------

    async def _propose(self, node_id: NodeId) -> None:
        try:
            self._seats[node_id] = await self._seated(node_id)
        except _Declined as declined:
            self.outcomes[node_id] = declined.outcome
        except Unavailable as error:
            self._unchallenged(node_id, Unchallenged.OFFLINE, error.message)
        except Refusal as error:
            self._unchallenged(node_id, Unchallenged.MISSPOKE, error.message)

    async def _seated(self, node_id: NodeId) -> _Seat:
        talk = await self.means.network.open(node_id)
        self._talks.append(talk)
        binding = self.means.network.binding_of(node_id)
        if binding is None:
            raise Unavailable("Nobody says where the node is.")
        await talk.say(ChallengeProposed(self.means.images))
        told = await talk.hear(limits.VALIDATOR_ACCEPT_MS)
        if isinstance(told, ChallengeDeclined):
            raise _Declined(_declined(node_id, told))
        if not isinstance(told, ChallengeAccepted):
            raise NotAllowed(f"A {type(told).__name__} came out of turn.")
        if self.means.images and told.image not in self.means.images:
            raise NotAllowed("It accepted with the image of a prover that was not named.")
        try:
            plan = plan_for(told.gpus, self.means.table, self.means.sizes)
        except (NotFound, NotAllowed) as error:
            reason = f"{error.message} {error.hint}".strip()
            raise _Declined(Outcome(node_id, Unchallenged.NO_PLAN, reason=reason)) from error
        return _Seat(node_id=node_id, talk=talk, binding=binding, accepted=told, plan=plan)

    def _unchallenged(self, node_id: NodeId, why: Unchallenged, reason: str) -> None:
        self.outcomes[node_id] = Outcome(node_id, why, reason=reason)

    # --- the rounds -----------------------------------------------------------------------------

    async def _rounds(self) -> None:
        claims = [
            rounds.Claim(one.node_id, one.binding.peer_key, one.plan, one.accepted.image)
            for one in self._seats.values()
        ]
        machine = rounds.ChallengeRounds(
            validator=self.means.validator,
            claims=claims,
            entropy=self.means.entropy(),
            verifies=verifies,
            started_ms=_now_ms(),
            wall_ms=self.means.wall_ms(),
        )
        send, receive = trio.open_memory_channel[tuple[rounds.Input, int]](2 * len(claims))
        async with trio.open_nursery() as nursery:
            for seat in self._seats.values():
                nursery.start_soon(self._listen, seat, send)
            for seat in self._seats.values():
                opened = rounds.ChannelOpened(
                    seat.node_id, seat.binding.peer_key, seat.accepted.node_nonce
                )
                self._carry_out(machine.step(opened, _now_ms()), nursery, send)
            while not machine.over:
                assert machine.wakeup_ms is not None
                event: rounds.Input | None = None
                at_ms = machine.wakeup_ms
                with trio.move_on_at(machine.wakeup_ms / 1000):
                    event, at_ms = await receive.receive()
                self._carry_out(machine.step(event, at_ms), nursery, send)
            nursery.cancel_scope.cancel()

    def _carry_out(
        self,
        effects: Sequence[rounds.Effect],
        nursery: trio.Nursery,
        send: "trio.MemorySendChannel[tuple[rounds.Input, int]]",
    ) -> None:
        for effect in effects:
            seat = self._seats[effect.node_id]
            match effect:
                case rounds.SendChallenge():
                    nursery.start_soon(self._issue, seat, effect.challenge, send)
                    continue
                case rounds.Ask():
                    message: Message = QuestionAsked(effect.question)
                case rounds.Reveal():
                    message = SecretRevealed(effect.secret)
                case rounds.Ended():
                    self._ended.append(effect)
                    continue
                case rounds.OpenChannel():
                    continue
            nursery.start_soon(self._say, seat, message, send)

    async def _issue(
        self,
        seat: _Seat,
        challenge: Challenge,
        send: "trio.MemorySendChannel[tuple[rounds.Input, int]]",
    ) -> None:
        try:
            signature = await self.means.sign(challenge)
        except P2poolError as error:
            self._unchallenged(seat.node_id, Unchallenged.NOT_KEPT, error.message)
            await send.send((rounds.Declined(seat.node_id), _now_ms()))
            return
        await self._say(seat, ChallengeIssued(challenge, signature), send)

    async def _say(
        self,
        seat: _Seat,
        message: Message,
        send: "trio.MemorySendChannel[tuple[rounds.Input, int]]",
    ) -> None:
        try:
            await seat.talk.say(message)
        except P2poolError:
            await send.send((rounds.ConnectionLost(seat.node_id), _now_ms()))

    async def _listen(
        self, seat: _Seat, send: "trio.MemorySendChannel[tuple[rounds.Input, int]]"
    ) -> None:
        """Everything that a node says, until nothing more can come of it."""
        rows: list[RowOpening] = []
        blocks: list[BlockOpening] = []
        while True:
            event: rounds.Input
            try:
                message = await seat.talk.hear(WORD_MS)
            except Unavailable:
                event = rounds.ConnectionLost(seat.node_id)
            except Refusal:
                event = rounds.Misspoke(seat.node_id)
            else:
                if isinstance(message, OpeningsShown):
                    rows += message.openings.rows
                    blocks += message.openings.blocks
                    if not fits(message.openings, seat.plan):
                        event = rounds.Misspoke(seat.node_id)
                    elif not message.last and len(rows) + len(blocks) <= seat.openings_max:
                        continue
                    else:
                        event = rounds.Opened(seat.node_id, Openings(tuple(rows), tuple(blocks)))
                else:
                    event = self._input_of(seat.node_id, message)
            await send.send((event, _now_ms()))
            if not isinstance(event, rounds.Committed):
                return

    def _input_of(self, node_id: NodeId, message: Message) -> rounds.Input:
        if isinstance(message, CommitmentMade):
            return rounds.Committed(node_id, message.answer)
        if isinstance(message, ChallengeDeclined):
            self.outcomes[node_id] = _declined(node_id, message)
            return rounds.Declined(node_id)
        return rounds.Misspoke(node_id)

    # --- after ----------------------------------------------------------------------------------

    async def _settle(self, ended: rounds.Ended) -> None:
        seat = self._seats[ended.node_id]
        if ended.transcript is None:
            self._unchallenged(ended.node_id, Unchallenged.MISSPOKE, ended.reason)
            return
        said = self.outcomes.get(ended.node_id)
        if said is not None and said.why is Unchallenged.NOT_KEPT:
            return  # We could not sign: that says nothing of the node.
        verdict = await self.means.settle(ended.node_id, ended.transcript, seat.binding)
        if verdict is None:
            self._unchallenged(ended.node_id, Unchallenged.NOT_KEPT, "It could not be concluded.")
            return
        self.outcomes[ended.node_id] = Outcome(
            ended.node_id,
            verdict=verdict,
            code="" if said is None else said.code,
            reason=ended.reason if said is None else said.reason,
            retry_at_ms=0 if said is None else said.retry_at_ms,
        )
        with trio.move_on_after(limits.VALIDATOR_ASK_MS / 1000):
            try:
                await seat.talk.say(VerdictTold(verdict))
            except P2poolError:
                return  # It hears of it from the others.


class _Declined(Exception):
    """A node is not challenged now, for a reason that is no failure of the network."""

    def __init__(self, outcome: Outcome) -> None:
        """What came of it."""
        super().__init__(outcome.reason)
        self.outcome = outcome


def _declined(node_id: NodeId, told: ChallengeDeclined) -> Outcome:
    return Outcome(
        node_id,
        Unchallenged.DECLINED,
        code=told.code,
        reason=told.reason,
        retry_at_ms=told.retry_at_ms,
    )


def _now_ms() -> int:
    return int(trio.current_time() * 1000)
