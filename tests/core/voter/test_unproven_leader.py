"""How long a leader without a quorum's certificate was followed: whoever evades the count stays."""

from types import SimpleNamespace
from typing import cast

import attrs

from p2pool.core.context import Context
from p2pool.core.knowledge.leadership.leader_certificate import LeaderCertificates
from p2pool.core.raft.raft import Raft
from p2pool.core.voter.eligibility import LeaderEligibility
from p2pool.core.voter.voter_standings import VoterStandings
from p2pool.model.ids import Digest, StateDigest
from p2pool.model.limits import LEADER_UNPROVEN_MS
from p2pool.model.log.certificates import LeaderCertificate
from p2pool.model.log.raft import Voter
from tests.raft.harness.cluster import LOG_ID
from tests.raft.harness.figure2 import A, B, at, made

CERTIFICATE = LeaderCertificate(
    LOG_ID, 3, A, Digest(bytes(32)), 1, StateDigest(bytes(33)), 1_000, (b"signed",)
)
FRAME_MS = 1_000


@attrs.define
class Follower:
    """One that looks at its leader once a second."""

    raft: Raft = attrs.field(factory=lambda: made(1, term=3))
    certificates: LeaderCertificates = attrs.field(factory=LeaderCertificates)
    ms: int = 5_000
    eligibility: LeaderEligibility = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        context = cast(Context, SimpleNamespace(leader_certificates=self.certificates))
        self.eligibility = LeaderEligibility(context, VoterStandings(context))

    def follows(self, leader: Voter | None, for_ms: int, term: int = 3) -> bool:
        """Whether it takes the leader for unproven in the end."""
        self.raft.state.follow(term, leader, at(self.ms))
        unproven = False
        for _ in range(0, for_ms, FRAME_MS):
            self.ms += FRAME_MS
            unproven = self.eligibility._leader_is_unproven(self.raft, at(self.ms))
        return unproven


def test_neither_a_new_term_nor_a_silence_starts_the_count_anew() -> None:
    """The leader itself brings about both; its silence does not count either."""
    follower = Follower()
    assert not follower.follows(A, LEADER_UNPROVEN_MS - 9_000)
    assert not follower.follows(None, LEADER_UNPROVEN_MS)
    assert not follower.follows(A, 5_000, term=4)
    assert follower.follows(A, 9_000, term=5)


def test_a_certificate_or_another_leader_starts_it_anew() -> None:
    """So an honest leader is never overruled; one that came back has its time again."""
    follower = Follower()
    assert follower.follows(A, LEADER_UNPROVEN_MS + 9_000)
    follower.certificates.known = CERTIFICATE
    assert not follower.follows(A, LEADER_UNPROVEN_MS - 9_000)
    assert follower.follows(A, 18_000)
    assert not follower.follows(B, LEADER_UNPROVEN_MS - 9_000)
    assert not follower.follows(A, LEADER_UNPROVEN_MS - 9_000)


def test_an_older_certificate_or_one_of_another_log_counts_for_nothing() -> None:
    """A liar may keep some back and show them one by one."""
    follower = Follower()
    follower.certificates.known = CERTIFICATE
    assert not follower.follows(A, LEADER_UNPROVEN_MS - 9_000)
    for other in (
        attrs.evolve(CERTIFICATE, leader=B),
        CERTIFICATE,
        attrs.evolve(CERTIFICATE, time_ms=2_000, log_id=Digest(b"x" * 32)),
    ):
        follower.certificates.known = other
        unproven = follower.follows(A, 6_000)
    assert unproven
