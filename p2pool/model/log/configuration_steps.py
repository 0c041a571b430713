"""Which configuration may follow which, whoever says so.

Intuition: two majorities of voter sets that differ by one voter always meet, so one voter more or
less at a time needs no joint consensus. Any other change passes through a joint configuration. A
newcomer starts as a learner.

Invariants: the two configurations alone decide, so whoever leads, follows, or reads a proof of a
lie judges alike (`core.raft.confchange`, `core.raft.acceptance`, `proofs.append_proof`). A joint
configuration keeps a majority of the old voters.
Source: Raft, section 6; thesis, 4.1 to 4.3.
"""

from collections.abc import Sequence

from p2pool.model.log.raft import Configuration, Voter, is_quorum


def step_refusal(
    old: Configuration, wanted: Configuration, *, learners_known: bool = True
) -> str | None:
    """Why one configuration may not follow another, whoever says so; None if it may.

    Followers ask this too before they append one, so it depends on nothing else. `learners_known`:
    False if somebody alone said who learned in the old one.
    """
    if old.is_joint:
        named = "The committee is between two, and leaves the old one before it changes again."
        return None if wanted == left(old) else named
    if wanted.flaw is not None or not old.voters:
        return wanted.flaw  # A log that has none yet takes any that can be one.
    refused = voters_refusal(old.voters, wanted)
    if refused is not None or not learners_known:
        return refused
    come = [v for v in wanted.voters if v not in old.voters]
    if wanted.is_joint and wanted.learners != tuple(v for v in old.learners if v not in come):
        return "A joint committee changes no learner that it does not promote."
    if any(v not in old.learners for v in come):
        return "A new voter starts as a learner: add it as a learner."
    return None


def voters_refusal(old: Sequence[Voter], wanted: Configuration) -> str | None:
    """Why a configuration may not follow these voters, of no joint one, whatever the learners."""
    gone = [v for v in old if v not in wanted.voters]
    come = [v for v in wanted.voters if v not in old]
    if not wanted.is_joint:
        several = len(gone) + len(come) > 1
        return "A committee changes by one voter at a time, or by a joint one." if several else None
    if wanted.outgoing != tuple(old):
        return "A joint committee starts from the one before it."
    if not is_quorum([old], [v for v in old if v in wanted.voters]):
        return "A joint committee keeps a majority of the voters before it."
    return None


def left(joint: Configuration) -> Configuration:
    """What follows a joint configuration."""
    return Configuration(joint.voters, joint.learners)
