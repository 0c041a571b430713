"""What agents of the first feature level ask of a voter that the chain has put out, and answer.

Intuition: release 0.2.0 knows one question about the chain: do you read, too, that this voter is
out? Where the pool's level has questions about everything (`voter.chain_agreement`), nobody asks it
any more. Below it, it stands in for them: this module puts a claim into that form and reads the
answer. An agent of either version is answered at any level.

Invariants: nothing is counted or remembered here; an answer from an earlier block than the claim's
says nothing. It can go with the last agent of the first level.
Source: docs/design/chain.md, "Who confirms it".
"""

from p2pool.core.chain_claims import Claim, Word
from p2pool.core.knowledge.roster import Roster
from p2pool.model.ids import NodeId
from p2pool.model.messages.queries import RemovalConfirmed, RemovalConfirmRequested
from p2pool.model.states import ChainStanding
from p2pool.model.timing import Now


def question(request: int, node_id: NodeId, claim: Claim) -> RemovalConfirmRequested:
    """A claim that a voter is out, as a question."""
    return RemovalConfirmRequested(request, node_id, claim.final_block)


def answer(asked: RemovalConfirmRequested, roster: Roster) -> RemovalConfirmed:
    """What our own endpoints say."""
    standing, block = roster.standing(asked.node_id, asked.block)
    return RemovalConfirmed(asked.request, asked.node_id, standing, block)


def word(said: RemovalConfirmed, claim: Claim, now: Now) -> Word:
    """What an answer means for the claim."""
    known = said.standing is not ChainStanding.UNKNOWN and said.block >= claim.final_block
    return Word(said.standing is ChainStanding.OUT if known else None, now.mono_ms)
