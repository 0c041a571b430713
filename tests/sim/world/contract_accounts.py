"""Contract accounts of the simulated chain: each takes the signatures of the one key that owns
it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pool.core.effects import JudgeContractSignatures
from p2pool.model.access.verdicts import ContractSignature, Validity, Verdict
from p2pool.model.errors import BadSignature
from p2pool.wire.eip712 import recover
from p2pool.wire.typed_data import contract_signatures
from tests.sim.world.chain import Block
from tests.sim.world.machine import Machine

if TYPE_CHECKING:
    from tests.sim.world.world import World


def judged(world: World, m: Machine, effect: JudgeContractSignatures) -> Verdict:
    """What a machine's endpoints say of a request's contract accounts at a block."""
    block = world.chain.find(effect.at.block_hash)
    if not (world.chain_up and m.chain.up) or block is None:
        return Verdict(Validity.UNKNOWN, "no endpoint answers")
    asked = contract_signatures(world.pool, effect.signed)
    good = Validity.VALID if all(_signed(block, one) for one in asked) else Validity.INVALID
    said = m.chain.judges or good
    why = "" if said is Validity.VALID else "the contract account did not sign it"
    return Verdict(said, why, effect.at, world.true_wall_ms(block.at_ms))


def _signed(block: Block, one: ContractSignature) -> bool:
    owner = dict(block.owners).get(one.contract)
    try:
        return owner is not None and recover(one.digest, one.signature) == owner
    except BadSignature:
        return False
