"""What follows from a transcript: the validator and a stranger ask this same function.

Intuition: first, does the transcript hold together (signatures, order, secret)? If not it is no
evidence at all. Then, what does it show: each opened row against its root and by Freivalds, each
opened block against its fingerprint, each time against its bound.

Invariants: no network, no clock, no NumPy; `WRONG_PRODUCT` and `WRONG_MEMORY` are found only under
a root that the node signed, so a validator cannot invent them; what it saw alone (`ended`, times)
is never more than its word. Source: docs/design/validation.md, "What a stranger checks".
"""

import struct
from collections.abc import Callable, Iterator, Sequence

import attrs

from p2pool.model import limits
from p2pool.model.errors import BadSignature, Malformed, NotForUs
from p2pool.model.ids import Digest, PeerKey
from p2pool.model.validation.evidence import (
    EXCUSED,
    Conclusion,
    Evidence,
    Fault,
    ShownFault,
    Transcript,
)
from p2pool.model.validation.transcript import (
    BlockOpening,
    Challenge,
    Commitment,
    RowOpening,
)
from p2pool.model.validation.work import DeviceWork, Plan
from p2pool.proofs.validation import derivation, freivalds, merkle, seeds

Verifies = Callable[[PeerKey, bytes, bytes], bool]
"""Whether a peer key signed bytes: key, bytes, signature."""

ENDINGS = frozenset({Fault.NO_ANSWER, Fault.BAD_ANSWER, Fault.DECLINED})
"""How a challenge may end before its last step."""


@attrs.frozen
class Arithmetic:
    """How the heavy parts are computed: by default in plain Python, with the same results."""

    right_image: Callable[[bytes, int, freivalds.Vector], freivalds.Vector] = freivalds.right_image
    left_row: Callable[[bytes, int, int], Sequence[int]] = derivation.left_row
    fingerprint: Callable[[bytes, bytes], bytes] = derivation.fingerprint


PLAIN = Arithmetic()


@attrs.frozen
class Judgement:
    """What a transcript shows."""

    conclusion: Conclusion
    faults: tuple[ShownFault, ...]


def judge(transcript: Transcript, verifies: Verifies, arithmetic: Arithmetic = PLAIN) -> Judgement:
    """What follows from a transcript; a `Refusal` if it does not hold together."""
    plan = transcript.challenge.plan
    check_plan(plan)
    _check_steps(transcript, verifies)
    faults = list(_late(transcript, plan))
    if transcript.ended is None:
        faults += _opened_wrong(transcript, arithmetic)
    else:
        faults.append(transcript.ended)
    return Judgement(_conclusion(faults), tuple(faults[: limits.CHALLENGE_FAULTS_MAX]))


def check_conclusion(evidence: Evidence, verifies: Verifies) -> Judgement:
    """`judge`, and a `Malformed` if the validator concluded otherwise."""
    found = judge(evidence.transcript, verifies)
    if (found.conclusion, found.faults) != (evidence.conclusion, evidence.faults):
        raise Malformed(
            f"The validator concludes {evidence.conclusion.value}; what it shows makes "
            f"{found.conclusion.value}.",
            hint="Ask other validators: this one contradicts its own evidence.",
        )
    return found


def _conclusion(faults: Sequence[ShownFault]) -> Conclusion:
    if any(one.fault not in EXCUSED for one in faults):
        return Conclusion.INVALID
    return Conclusion.INCONCLUSIVE if faults else Conclusion.VALID


# --- whether it holds together ------------------------------------------------------------------


def check_plan(plan: Plan) -> None:
    """`Malformed` for work that no prover could do, or that proves nothing."""
    if not plan.devices or not plan.products.count or not plan.scans.count:
        raise Malformed("A plan has devices, rounds of products and rounds over the memory.")
    for device in plan.devices:
        product, memory = device.product, device.memory
        sizes = (product.products, product.rows, product.inner, product.columns)
        if not all(sizes) or product.inner % 4 or product.columns % 4:
            raise Malformed("The sizes of a product are positive, inner and columns by fours.")
        if not all((memory.blocks, memory.repeats, memory.passes, memory.block_bytes)):
            raise Malformed("The sizes of a memory are positive.")
        if memory.block_bytes % derivation.LINE_BYTES:
            raise Malformed(f"A block consists of lines of {derivation.LINE_BYTES} bytes.")


def _check_steps(transcript: Transcript, verifies: Verifies) -> None:
    challenge, plan = transcript.challenge, transcript.challenge.plan
    if seeds.secret_hash(transcript.secret) != challenge.secret_hash:
        raise Malformed("The secret is not the one that the challenge fixed.")
    count = len(transcript.steps)
    if transcript.ended is None and count != plan.steps:
        raise Malformed(f"It has {count} of {plan.steps} steps, and does not say why.")
    if transcript.ended is not None:
        ended = transcript.ended
        if ended.fault not in ENDINGS or ended.device != -1 or ended.step != count:
            raise Malformed("It ended in a way in which no challenge ends.")
        if count > plan.steps:
            raise Malformed("It has more steps than its plan.")
    previous = seeds.challenge_id(challenge)
    for number, step in enumerate(transcript.steps):
        commitment = step.answer.commitment
        check_commitment(commitment, challenge, number, previous)
        message = seeds.commitment_bytes(commitment)
        if not verifies(challenge.peer_key, message, step.answer.signature):
            raise BadSignature(f"The node did not sign the answer of step {number}.")
        previous = seeds.commitment_digest(commitment)


def check_commitment(
    commitment: Commitment, challenge: Challenge, step: int, previous: Digest
) -> None:
    """A `Refusal` unless a commitment is the answer to this step, all but its nonce and
    signature."""
    if commitment.challenge != seeds.challenge_id(challenge):
        raise NotForUs("The answer belongs to another challenge.")
    if commitment.step != step or commitment.previous != previous:
        raise NotForUs(f"The answer does not follow step {step - 1}.")
    plan = challenge.plan
    if len(commitment.devices) != len(plan.devices):
        raise Malformed("The answer is not of as many devices as were asked.")
    for device, work in zip(commitment.devices, plan.devices, strict=True):
        wanted = work.memory.passes if plan.is_scan(step) else int(plan.is_product(step))
        if len(device.roots) != wanted:
            raise Malformed(f"A device has {len(device.roots)} roots instead of {wanted}.")


# --- what it shows ------------------------------------------------------------------------------


def _late(transcript: Transcript, plan: Plan) -> Iterator[ShownFault]:
    """Of each kind of rounds, the first one beyond those that may be late."""
    late = [
        number
        for number, step in enumerate(transcript.steps)
        if step.elapsed_ms > plan.due_ms(number)
    ]
    if late[:1] == [0]:
        yield ShownFault(Fault.SLOW_FILL, 0)
    products = [number for number in late if plan.is_product(number)]
    scans = [number for number in late if plan.is_scan(number)]
    if len(products) > plan.products.late_max:
        yield ShownFault(Fault.SLOW_PRODUCT, products[plan.products.late_max])
    if len(scans) > plan.scans.late_max:
        yield ShownFault(Fault.SLOW_MEMORY, scans[plan.scans.late_max])


def _opened_wrong(transcript: Transcript, arithmetic: Arithmetic) -> Iterator[ShownFault]:
    plan, openings = transcript.challenge.plan, transcript.openings
    draw = seeds.draw_of(transcript.secret, transcript.steps[-1].answer.commitment)
    challenge = seeds.challenge_id(transcript.challenge)
    commitments = [step.answer.commitment for step in transcript.steps]
    known = range(len(plan.devices))
    devices = {one.device for one in openings.rows} | {one.device for one in openings.blocks}
    if not devices <= set(known):
        yield ShownFault(Fault.BAD_OPENING, plan.steps)
        return
    for number, work in enumerate(plan.devices):
        rows = [one for one in openings.rows if one.device == number]
        blocks = [one for one in openings.blocks if one.device == number]
        shown_rows = [(one.step, one.product, one.row) for one in rows]
        shown_blocks = [(one.step, one.scan, one.block) for one in blocks]
        if shown_rows != seeds.drawn_rows(plan, number, draw) or (
            shown_blocks != seeds.drawn_blocks(plan, number, draw)
        ):
            yield ShownFault(Fault.BAD_OPENING, plan.steps, number)
            continue
        checked = _Device(
            number=number,
            work=work,
            commitments=commitments,
            challenge=challenge,
            draw=draw,
            arithmetic=arithmetic,
        )
        yield from checked.wrong_rows(rows)
        yield from checked.wrong_blocks(blocks)


@attrs.define
class _Device:
    """One device's openings against what was committed to."""

    number: int
    work: DeviceWork
    commitments: Sequence[Commitment]
    challenge: Digest
    draw: Digest
    arithmetic: Arithmetic

    def wrong_rows(self, rows: Sequence[RowOpening]) -> Iterator[ShownFault]:
        """Each row that is not in its tree, or not in its product."""
        work = self.work.product
        x = freivalds.vector(self.draw, work.columns)
        seed = seeds.matrix_seed(self.challenge, self.number)
        image = self.arithmetic.right_image(seed, work.inner, x)
        for one in rows:
            if not self._row_in_tree(one):
                yield ShownFault(Fault.BAD_OPENING, one.step, self.number)
                continue
            round_seed = seeds.seed_of_answer(self.commitments[one.step], self.number)
            product_seed = derivation.product_seed(round_seed, one.product)
            left = self.arithmetic.left_row(product_seed, one.row, work.inner)
            entries = struct.unpack(f"<{work.columns}i", one.entries)
            if not freivalds.holds(entries, left, x, image):
                yield ShownFault(Fault.WRONG_PRODUCT, one.step, self.number)

    def _row_in_tree(self, one: RowOpening) -> bool:
        work = self.work.product
        if len(one.entries) != 4 * work.columns:
            return False
        path = iter(one.path)
        leaf = merkle.leaf_digest(one.entries)
        try:
            product = merkle.climb(leaf, one.row, work.rows, path)
            root = merkle.climb(product, one.product, work.products, path)
        except Malformed:
            return False
        committed = self.commitments[one.step].devices[self.number].roots[0]
        return root == committed and next(path, None) is None

    def wrong_blocks(self, blocks: Sequence[BlockOpening]) -> Iterator[ShownFault]:
        """Each block whose fingerprint is not in its tree, or is not that of the block."""
        memory, width = self.work.memory, limits.CHALLENGE_FINGERPRINT_BYTES
        seed = seeds.memory_seed(self.challenge, self.number)
        for one in blocks:
            if not self._group_in_tree(one):
                yield ShownFault(Fault.BAD_OPENING, one.step, self.number)
                continue
            made = derivation.memory_block(seed, one.block, memory.block_bytes, memory.repeats)
            at = width * (one.block % limits.CHALLENGE_GROUP_BLOCKS)
            wanted = self.arithmetic.fingerprint(self._scan_seed(one), made)
            if one.fingerprints[at : at + width] != wanted:
                yield ShownFault(Fault.WRONG_MEMORY, one.step, self.number)

    def _group_in_tree(self, one: BlockOpening) -> bool:
        blocks, per_group = self.work.memory.blocks, limits.CHALLENGE_GROUP_BLOCKS
        group, groups = one.block // per_group, -(-blocks // per_group)
        size = min(per_group, blocks - group * per_group)
        if len(one.fingerprints) != size * limits.CHALLENGE_FINGERPRINT_BYTES:
            return False
        path = iter(one.path)
        try:
            root = merkle.climb(merkle.leaf_digest(one.fingerprints), group, groups, path)
        except Malformed:
            return False
        committed = self.commitments[one.step].devices[self.number].roots[one.scan]
        return root == committed and next(path, None) is None

    def _scan_seed(self, one: BlockOpening) -> bytes:
        commitment = self.commitments[one.step]
        seed: bytes = seeds.seed_of_answer(commitment, self.number)
        for root in commitment.devices[self.number].roots[: one.scan]:
            seed = derivation.next_scan_seed(seed, root)
        return seed
