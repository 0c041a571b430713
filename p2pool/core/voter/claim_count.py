"""How many voters read a change of the chain as we do: of each half of the committee.

Intuition: a claim is our endpoints' word. Each voter's answer to it is a word of the same kind, so
a quorum of them decides; of one who loses something, all voters but that one. A voter that would be
left alone by that asks the one in question too: its own word is the claim, and nobody else could
confirm it. For a seat that is not asked: the one in question may be gone.

Invariants: each voter counts once, our own reading among them; a word that is too old is none; who
cannot read that far answers, and neither agrees nor disagrees.
Source: docs/design/chain.md, "Who confirms it".
"""

import attrs

from p2pool.core.chain_claims import Claim, Fact, Key
from p2pool.model.ids import NodeId, StoreId
from p2pool.model.log.raft import Configuration
from p2pool.model.timing import Now


@attrs.frozen
class Count:
    """Which voters read a claim as we do, otherwise, and which answer at all; of which committee.

    `committee` lacks the one that the claim is about, unless nobody but us would be left.
    """

    committee: Configuration
    agree: frozenset[StoreId]
    disagree: frozenset[StoreId]
    answer: frozenset[StoreId]

    @property
    def confirmed(self) -> bool:
        """Whether a quorum reads the same."""
        return self.committee.has_quorum(self.agree)

    @property
    def contradicted(self) -> bool:
        """Whether a quorum reads otherwise."""
        return self.committee.has_quorum(self.disagree)

    @property
    def alone(self) -> bool:
        """Whether too few answer to say anything, and nobody says otherwise."""
        return not self.committee.has_quorum(self.answer) and not self.disagree


def count(
    committee: Configuration,
    key: Key,
    claim: Claim,
    me: NodeId,
    now: Now,
    *,
    alone: bool = False,
) -> Count:
    """Count what the voters of a committee said of a claim. `alone`: our own word is enough where
    nobody but us is left to ask about the other one."""
    asked = committee if isinstance(key, Fact) else committee.without(key)
    if not alone and [voter.node_id for voter in asked.electors] == [me]:
        asked = committee
    words = {v.store_id: claim.word(v.node_id, now) for v in asked.electors}
    ours = frozenset(v.store_id for v in asked.electors if v.node_id == me)
    said = {store: word.agrees for store, word in words.items() if word is not None}
    return Count(
        committee=asked,
        agree=ours | {store for store, agrees in said.items() if agrees is True},
        disagree=frozenset(store for store, agrees in said.items() if agrees is False) - ours,
        answer=ours | said.keys(),
    )
