"""Proof for outsiders that this node's leader is the committee's."""

from p2pool.core.context import Context
from p2pool.model.log.certificates import LeaderProof
from p2pool.model.timing import Now


def leader_proof(context: Context, now: Now) -> LeaderProof | None:
    """What this node can show of who leads; None where it knows no log."""
    ledger, certified = context.ledger, context.certified
    if ledger.log_id is None:
        return None
    known = certified.fresh(now)
    if known is None:
        return LeaderProof(ledger.log_id, ledger.root, ledger.chain)
    return LeaderProof(
        log_id=ledger.log_id,
        root=ledger.root,
        chain=ledger.chain,
        certificate=known.signatures,
        votes=certified.votes,
    )
