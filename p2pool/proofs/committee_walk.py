"""The walk along a chain of committees: from one that is trusted to today's, change by change.

Intuition: each change of the voters is signed by a quorum of the voters before it. So whoever knows
one committee comes to know every later one, whoever hands the chain over. A node walks from the
committee of its own log, an outsider from the root record on the chain; both walk here.

Invariants: changes come in the order of the log, each after the one before it; a change without a
quorum of the voters before it ends the walk, and nothing after it is believed.
Source: docs/design/certificates.md, "The chain of committees".
"""

from collections.abc import Iterable, Iterator, Sequence

from p2pool.model.errors import BadSignature, NotForUs
from p2pool.model.ids import Digest
from p2pool.model.log.certificates import CommitteeChain, Link
from p2pool.model.log.raft import Voter
from p2pool.proofs.certificates import Opened, link_signers, quorum_of


class Uncertified(BadSignature):
    """A change of the committee that too few of the voters before it signed."""

    def __init__(
        self, number: int, link: Link, before: Sequence[Voter], signers: Sequence[Voter]
    ) -> None:
        """`number`: which change of the chain it is, counted from 1."""
        super().__init__(
            f"The committee's change at {link.index} is signed by {len(signers)} of {len(before)} "
            f"voters before it; {quorum_of(before)} are needed."
        )
        self.number, self.link = number, link
        self.before, self.signers = before, signers


def walk_links(
    chain: CommitteeChain, start: int, opened: Iterable[Opened], log_id: Digest
) -> Iterator[tuple[Voter, ...]]:
    """The voters after each change, as soon as they are proven; the first `start` changes are not
    looked at.

    `opened`: the signatures of each change from `start` on. Raises `Uncertified` where a quorum
    lacks, `NotForUs` for a change that is out of order or of another log, and what `link_signers`
    raises.
    """
    before = chain.links[start - 1].voters if start else chain.base
    last_index = chain.links[start - 1].index if start else 0
    rest = zip(chain.links[start:], opened, strict=True)
    for number, (link, signed) in enumerate(rest, start=start + 1):
        if link.index <= last_index:
            raise NotForUs(f"Change {number} of the committee is out of order.")
        signers = link_signers(signed, link, before, log_id)
        if len(signers) < quorum_of(before):
            raise Uncertified(number, link, before, signers)
        before, last_index = link.voters, link.index
        yield before
