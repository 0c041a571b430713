"""Proof for outsiders that this node's leader is the committee's."""

from p2pool.core.context import Context
from p2pool.model.log.certificates import LeaderProof
from p2pool.model.timing import Now


def leader_proof(context: Context, now: Now) -> LeaderProof | None:
    """What this node can show of who leads; None if it knows no log."""
    pool_log, certified = context.pool_log, context.leader_certificates
    if pool_log.log_id is None:
        return None
    known = certified.fresh(now)
    if known is None:
        return LeaderProof(pool_log.log_id, pool_log.root, pool_log.chain)
    return LeaderProof(
        log_id=pool_log.log_id,
        root=pool_log.root,
        chain=pool_log.chain,
        certificate=known.signatures,
        votes=certified.votes,
    )
