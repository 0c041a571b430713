"""How long a certificate that was seen keeps a node from taking anybody's word."""

import pytest

from p2pool.core.knowledge.leadership.last_certificate import CertificateSighting
from p2pool.model import limits
from p2pool.model.ids import Digest, StateDigest
from p2pool.model.log.certificates import LeaderCertificate
from p2pool.model.log.raft import Voter
from p2pool.model.timing import Now
from tests.codec.samples import example

AT = Now(5_000, 1_700_000_000_000)
FOR_MS = limits.CERTIFICATE_LIFETIME_MS + limits.COMMITTEE_UNHEARD_MS


def after(ms: int, *, jump_ms: int = 0) -> Now:
    """So long after the sighting, on a wall clock that jumped meanwhile."""
    return Now(AT.mono_ms + ms, AT.wall_ms + ms + jump_ms)


@pytest.fixture
def known() -> LeaderCertificate:
    """A certificate of now."""
    leader: Voter = example(Voter)
    digest = StateDigest(b"\x01" * 33)
    log_id = Digest(b"l" * 32)
    return LeaderCertificate(log_id, 3, leader, Digest(b"c" * 32), 9, digest, AT.wall_ms, ())


def test_a_sighting_lasts_ten_minutes_after_the_certificate(known: LeaderCertificate) -> None:
    """For its log alone; a clock that jumps ahead ends it no earlier."""
    sighting = CertificateSighting()
    assert not sighting.lately(known.log_id, AT)
    assert not sighting.has(known)
    sighting.note(known, AT)
    assert sighting.has(known)
    assert sighting.lately(known.log_id, after(FOR_MS - 1, jump_ms=10 * FOR_MS))
    assert not sighting.lately(known.log_id, after(FOR_MS))
    assert not sighting.lately(Digest(b"o" * 32), AT)
    assert not sighting.lately(None, AT)


def test_a_restart_forgets_no_sighting(known: LeaderCertificate) -> None:
    """It is on the disk; a clock that went back since does not end it either."""
    row = CertificateSighting().note(known, AT)
    again = CertificateSighting.restored(row.value)
    assert again.lately(known.log_id, Now(1, AT.wall_ms + FOR_MS - 1))
    assert again.lately(known.log_id, Now(1, AT.wall_ms - FOR_MS))
    assert not again.lately(known.log_id, Now(1, AT.wall_ms + FOR_MS))


@pytest.mark.parametrize("kept", [None, b"", b"\xff\x00"])
def test_what_the_disk_does_not_say_is_no_sighting(kept: bytes | None) -> None:
    """A first start, or a row that nobody can read."""
    assert not CertificateSighting.restored(kept).lately(Digest(b"l" * 32), AT)
