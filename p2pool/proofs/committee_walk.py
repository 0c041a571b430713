"""The walk along a chain of committees: from a trusted one to today's, change by change.

Intuition: a quorum of the voters before each change signed it. So anyone who knows one committee
can verify every later one, whoever hands the chain over. A node walks from the committee of its own
log, an outsider from the root record on the chain; both walk here.

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
    """A committee change that too few of the voters before it signed."""

    def __init__(
        self, number: int, link: Link, before: Sequence[Voter], signers: Sequence[Voter]
    ) -> None:
        """`number`: the change's position in the chain, counted from 1."""
        super().__init__(
            f"{len(signers)} of {len(before)} previous voters signed the committee's change at "
            f"{link.index}; {quorum_of(before)} are needed."
        )
        self.number, self.link = number, link
        self.before, self.signers = before, signers


def walk_links(
    chain: CommitteeChain, start: int, opened: Iterable[Opened], log_id: Digest
) -> Iterator[tuple[Voter, ...]]:
    """The voters after each change, as soon as they are proven; skips the first `start` changes.

    `opened`: the signatures of each change from `start` on. Raises `Uncertified` without a
    quorum, `NotForUs` for a change that is out of order or for another log, and whatever
    `link_signers` raises.
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
