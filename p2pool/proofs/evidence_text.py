"""What a voter was proven to have done, in one plain sentence for people."""

from p2pool.codec.json.hex import address_text
from p2pool.model.log.certificates import CHANGE, HISTORY, VOTE, BadAppend, LieProof

NAME_DIGITS = 16
"""So many hex digits tell the logs, or the histories, of a pool apart."""

DEEDS = {HISTORY: "signed two histories", CHANGE: "signed two next committees"}


def told(proof: LieProof) -> str:
    """The sentence: who did what, when by the log."""
    who, log = address_text(proof.voter.node_id), proof.log_id.hex()[:NAME_DIGITS]
    if isinstance(proof, BadAppend):
        return (
            f"{who}, as the leader of term {proof.term}, sent entry {proof.index} of log {log}, "
            f"which no honest leader sends: {proof.reason.rstrip('.')}."
        )
    if proof.kind in DEEDS:
        names = (one.hex()[:NAME_DIGITS] for one in (proof.first_hash, proof.second_hash))
        return f"{who} {DEEDS[proof.kind]} of log {log} at index {proof.index}: {_pair(*names)}."
    did = "voted for" if proof.kind == VOTE else "confirmed as leaders"
    names = (address_text(one.node_id) for one in (proof.first_for, proof.second_for))
    return f"{who} {did} two nodes in term {proof.term} of log {log}: {_pair(*names)}."


def _pair(one: str, other: str) -> str:
    return f"{one} and {other}"
