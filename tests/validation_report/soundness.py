"""How often a cheat is found: by the design's arithmetic, in draws, and in whole challenges."""

import math
from collections.abc import Sequence
from hashlib import sha256

import attrs

from p2pool.model.ids import Digest
from p2pool.model.validation.evidence import Conclusion
from p2pool.model.validation.work import Plan
from p2pool.proofs.validation import seeds
from p2pool.validator.challenge.plan import found_probability, plan_for
from p2pool.validator.challenge.sizes import Sizes
from tests.proofs.validation.plans import plan_of
from tests.validator.harness.nodes import MODEL, SIZES, TABLE, SimulatedNode, challenge, claims_of
from tests.validator.harness.provers import FakesRows, Forgetful

ROWS = 16_384
"""So many rows may be drawn from, as of one product of a card."""


@attrs.frozen
class Soundness:
    """Of one cheat: `stated`, that which the arithmetic promises at least."""

    what: str
    opened: int
    stated: float
    found: int
    tried: int

    @property
    def chance(self) -> float:
        """How likely it is to be found no more often than it was, if what is stated is so: the
        lower tail of the binomial distribution. Next to nothing: what is stated is wrong."""
        miss = 1 - self.stated
        if min(self.stated, miss) <= 0:
            return float(self.found >= self.stated * self.tried)
        logs = (
            math.lgamma(self.tried + 1)
            - math.lgamma(n + 1)
            - math.lgamma(self.tried - n + 1)
            + n * math.log(self.stated)
            + (self.tried - n) * math.log(miss)
            for n in range(self.found + 1)
        )
        return min(1.0, math.fsum(map(math.exp, logs)))


def drawn(every: int, draws: int) -> Soundness:
    """One row in `every` is a fake: how many of the draws have one."""
    opened = Sizes().rows_opened
    plan, hits = plan_of(ROWS, opened), 0
    for number in range(draws):
        draw = Digest(sha256(number.to_bytes(4, "big")).digest())
        hits += any(row % every == every - 1 for _, _, row in seeds.drawn_rows(plan, 0, draw))
    what = f"draws: one row in {every} is a fake"
    return Soundness(what, opened, found_probability(1 / every, opened), hits, draws)


def challenged(challenges: int) -> Sequence[Soundness]:
    """Whole challenges of cheats, in virtual time, to the last check."""
    rows = plan_of(200, 60)
    memory = plan_for(claims_of(), TABLE, SIZES)
    half = Forgetful(held_permille=900)
    missing = 1 - -(-memory.devices[0].memory.blocks * 9 // 10) / memory.devices[0].memory.blocks
    return (
        Soundness(
            "whole challenges: one row in 100 is a fake, of 200",
            60,
            found_probability(0.01, 60),
            sum(_invalid(SimulatedNode(1, prover=FakesRows()), rows, n) for n in range(challenges)),
            challenges,
        ),
        Soundness(
            f"whole challenges: {missing:.1%} of the memory is made up",
            memory.scans.opened,
            found_probability(missing, memory.scans.opened),
            sum(_invalid(SimulatedNode(1, prover=half), memory, n) for n in range(challenges)),
            challenges,
        ),
        Soundness(
            "whole challenges: an honest node",
            memory.products.opened,
            0.0,
            sum(_invalid(SimulatedNode(1), memory, n) for n in range(challenges)),
            challenges,
        ),
    )


def _invalid(node: SimulatedNode, plan: Plan, number: int) -> bool:
    assert plan.devices[0].model in ("", MODEL)
    done = challenge(node, entropy=number.to_bytes(32, "big"), claims=[node.claim(plan)])
    return done.evidence[node.node_id].conclusion is Conclusion.INVALID
