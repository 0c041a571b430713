"""The node's side of a challenge, without a network or a device: what to ask the prover, and when.

Intuition: the agent hands the challenge, the questions and the secret in, sends the requests that
come out to its prover, line by line, and hands the answers back. Seeds follow from the challenge
that the agent has checked to be its own (`check_addressed`), so a prover never works for somebody
else's.

Invariants: steps come in order, each question once; nothing is opened before the last commitment.
What a prover answers is checked for its form alone: a prover that computes wrongly convicts its own
node. Source: docs/design/validation.md, "Rounds"; `prover.protocol` at the repository's root.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from p2pool.model.errors import Malformed, NotAllowed, NotForUs, NotFound
from p2pool.model.ids import DIGEST_BYTES, Digest
from p2pool.model.machine.hardware import Gpu
from p2pool.model.validation.transcript import (
    BlockOpening,
    Challenge,
    Commitment,
    DeviceRoots,
    Openings,
    Question,
    RowOpening,
)
from p2pool.model.validation.work import Plan
from p2pool.proofs.validation import seeds
from p2pool.proofs.validation.judgement import check_plan

Share = Mapping[str, Any]
"""What a request asks of one device, or what that device answered: JSON."""

Drawn = tuple[int, int, int]
"""(step, product, row) or (step, pass, block)."""


@attrs.frozen
class ProverRequest:
    """A line to the prover, but for its number. All shares run at the same time."""

    op: str
    shares: tuple[Share, ...]


@attrs.frozen
class _Asked:
    """Which openings a request asked for: of each share, the device and what was drawn."""

    drawn: tuple[tuple[int, tuple[Drawn, ...]], ...]
    rows: bool


def check_claims(plan: Plan, gpus: Sequence[Gpu]) -> None:
    """`NotAllowed` for a plan that asks more of a node than it claims: a GPU that it does not have,
    or more memory than that has."""
    check_plan(plan)
    memory = {gpu.uuid: gpu.memory_bytes for gpu in gpus}
    if len({work.uuid for work in plan.devices}) != len(plan.devices):
        raise NotAllowed("The plan has a GPU twice.")
    for work in plan.devices:
        if work.uuid not in memory:
            raise NotAllowed(f"The plan has GPU {work.uuid}, which this node does not claim.")
        if work.memory.size_bytes > memory[work.uuid]:
            raise NotAllowed(f"The plan fills more memory than GPU {work.uuid} has.")


def positions_in(plan: Plan, uuids: Sequence[str]) -> tuple[int, ...]:
    """Where a prover has the devices of a plan, by the UUIDs that it lists. `NotFound`: it lacks
    one."""
    missing = [work.uuid for work in plan.devices if work.uuid not in uuids]
    if missing:
        raise NotFound(
            f"The prover does not see GPU {missing[0]}.",
            hint="Compare the GPUs that the container gets with those of the agent.",
        )
    return tuple(uuids.index(work.uuid) for work in plan.devices)


@attrs.define
class NodeAnswers:
    """The answers to one challenge. `positions`: where the prover has the devices, in the plan's
    order (`positions_in`). `Malformed`: the plan makes no sense."""

    challenge: Challenge
    positions: Sequence[int] = ()
    _id: Digest = attrs.field(init=False)
    _previous: Digest = attrs.field(init=False)
    _question: Question | None = attrs.field(init=False, default=None)
    _commitments: list[Commitment] = attrs.field(init=False, factory=list)
    _asked: list[_Asked] = attrs.field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        check_plan(self.challenge.plan)
        self.positions = self.positions or range(len(self.challenge.plan.devices))
        assert len(self.positions) == len(self.challenge.plan.devices)
        self._id = self._previous = seeds.challenge_id(self.challenge)

    def preparations(self) -> list[ProverRequest]:
        """Step 0: the matrices that stay, and the memory."""
        self._expect(0)
        self._question = Question(0, self.challenge.validator_nonce)
        load, fill = [], []
        for number, work in enumerate(self.challenge.plan.devices):
            product, memory = work.product, work.memory
            load.append(
                {
                    "device": self.positions[number],
                    "seed": seeds.matrix_seed(self._id, number).hex(),
                    "inner": product.inner,
                    "columns": product.columns,
                }
            )
            fill.append(
                {
                    "device": self.positions[number],
                    "seed": seeds.memory_seed(self._id, number).hex(),
                    "blocks": memory.blocks,
                    "block_bytes": memory.block_bytes,
                    "repeats": memory.repeats,
                }
            )
        return [ProverRequest("load", tuple(load)), ProverRequest("fill", tuple(fill))]

    def round(self, question: Question) -> ProverRequest:
        """The work of a round; `NotForUs` out of order."""
        self._expect(question.step)
        plan = self.challenge.plan
        if question.step == 0 or question.step >= plan.steps:
            raise NotForUs(f"The plan has no round {question.step}.")
        self._question = question
        shares: list[Share] = []
        for number, work in enumerate(plan.devices):
            seed = seeds.round_seed(self._id, self._previous, question, number)
            share = {"device": self.positions[number], "seed": seed.hex()}
            if plan.is_product(question.step):
                sizes = {"products": work.product.products, "rows": work.product.rows}
            else:
                sizes = {"passes": work.memory.passes}
            shares.append(share | sizes)
        return ProverRequest(
            "multiply" if plan.is_product(question.step) else "scan", tuple(shares)
        )

    def commitment(self, shares: Sequence[Share]) -> Commitment:
        """The commitment to what the prover answered, to be signed: the step is over."""
        question, plan = self._question, self.challenge.plan
        if question is None:
            raise NotForUs("Nothing was asked.")
        if len(shares) != len(plan.devices):
            raise Malformed("The prover did not answer for every device.")
        made = Commitment(
            challenge=self._id,
            step=question.step,
            nonce=question.nonce,
            previous=self._previous,
            devices=tuple(
                DeviceRoots(_roots(share, plan.is_scan(question.step), question.step))
                for share in shares
            ),
        )
        self._commitments.append(made)
        self._previous, self._question = seeds.commitment_digest(made), None
        return made

    def opening_requests(self, secret: Digest) -> list[ProverRequest]:
        """What was drawn: a request for each round that has any of it."""
        plan = self.challenge.plan
        if seeds.secret_hash(secret) != self.challenge.secret_hash:
            raise NotForUs("The secret is not the one that the challenge fixed.")
        self._expect(plan.steps)
        draw = seeds.draw_of(secret, self._commitments[-1])
        devices = range(len(plan.devices))
        rows = {number: seeds.drawn_rows(plan, number, draw) for number in devices}
        blocks = {number: seeds.drawn_blocks(plan, number, draw) for number in devices}
        requests: list[ProverRequest] = []
        self._asked.clear()
        for step in range(1, plan.steps):
            drawn = rows if plan.is_product(step) else blocks
            of_step = tuple(
                (number, found)
                for number in devices
                if (found := tuple(one for one in drawn[number] if one[0] == step))
            )
            if of_step:
                requests.append(self._opening_request(step, of_step))
                self._asked.append(_Asked(of_step, plan.is_product(step)))
        return requests

    def _opening_request(
        self, step: int, of_step: tuple[tuple[int, tuple[Drawn, ...]], ...]
    ) -> ProverRequest:
        answer = self._commitments[step]
        shares = tuple(
            {
                "device": self.positions[number],
                "seed": seeds.seed_of_answer(answer, number).hex(),
                "wanted": [[one[1], one[2]] for one in found],
            }
            for number, found in of_step
        )
        is_product = self.challenge.plan.is_product(step)
        return ProverRequest("rows" if is_product else "blocks", shares)

    def openings(self, answers: Sequence[Sequence[Share]]) -> Openings:
        """What the prover opened, request by request."""
        if len(answers) != len(self._asked):
            raise Malformed("The prover did not open all that was asked.")
        rows: list[RowOpening] = []
        blocks: list[BlockOpening] = []
        for asked, shares in zip(self._asked, answers, strict=True):
            if len(shares) != len(asked.drawn):
                raise Malformed("The prover did not open for every device.")
            for (number, drawn), share in zip(asked.drawn, shares, strict=True):
                opened = _opened(share, len(drawn))
                for (step, outer, inner), (data, path) in zip(drawn, opened, strict=True):
                    if asked.rows:
                        rows.append(
                            RowOpening(
                                device=number,
                                step=step,
                                product=outer,
                                row=inner,
                                entries=data,
                                path=path,
                            )
                        )
                    else:
                        blocks.append(
                            BlockOpening(
                                device=number,
                                step=step,
                                scan=outer,
                                block=inner,
                                fingerprints=data,
                                path=path,
                            )
                        )
        return Openings(tuple(rows), tuple(blocks))

    def _expect(self, step: int) -> None:
        if self._question is not None or step != len(self._commitments):
            raise NotForUs(f"Step {step} is not the one that follows.")


def _roots(share: Share, is_scan: bool, step: int) -> tuple[Digest, ...]:
    if step == 0:
        return ()
    roots = share.get("roots") if is_scan else [share.get("root")]
    if not isinstance(roots, list):
        raise Malformed("The prover's answer to a round over the memory has no roots.")
    return tuple(_digest(one) for one in roots)


def _opened(share: Share, count: int) -> list[tuple[bytes, tuple[Digest, ...]]]:
    openings = share.get("openings")
    if not isinstance(openings, list) or len(openings) != count:
        raise Malformed("The prover did not open all that was drawn.")
    try:
        return [
            (base64.b64decode(one["data"]), tuple(_digest(item) for item in one["path"]))
            for one in openings
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise Malformed("The prover's openings are not in their form.") from error


def _digest(text: object) -> Digest:
    try:
        made = bytes.fromhex(str(text))
    except ValueError as error:
        raise Malformed("The prover's digest is not hex digits.") from error
    if len(made) != DIGEST_BYTES:
        raise Malformed(f"The prover's digest has {len(made)} bytes.")
    return Digest(made)
