"""When this node last saw a certificate of a committee that it knows, across restarts.

Intuition: whoever heard the committee a moment ago needs nobody's word for another one. So the time
of the newest accepted certificate is on disk, and only a node that has long heard none may take
others' word.

Invariants: only certificates that verified count; a sighting of another log says nothing of this
one; neither a restart nor a clock that jumps ahead while the agent runs ends it early.
Source: docs/design/certificates.md, "Certificates on their way".
"""

import attrs

from p2pool.codec.cbor.structs import decode_struct
from p2pool.codec.rows import put_record
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.ids import Digest
from p2pool.model.log.certificates import LeaderCertificate
from p2pool.model.ports.store import Put
from p2pool.model.timing import Now

META_TABLE = "meta"
SEEN_KEY = b"certificate.seen"


@attrs.frozen
class CertificateSeen:
    """The newest certificate that this node accepted: its log, and its leader's time."""

    log_id: Digest
    time_ms: int


@attrs.define
class CertificateSighting:
    """The last sighting. `noted_ms`: when this agent noted it, on the monotonic clock; None: an
    earlier start did."""

    seen: CertificateSeen | None = None
    noted_ms: int | None = None

    @classmethod
    def restored(cls, kept: bytes | None) -> "CertificateSighting":
        """What the disk remembers under `SEEN_KEY`."""
        if kept is None:
            return cls()
        try:
            return cls(decode_struct(CertificateSeen, kept))
        except Malformed:
            return cls()  # A newer version wrote it: the next certificate is noted anew.

    def has(self, known: LeaderCertificate) -> bool:
        """Whether an accepted certificate is noted."""
        return self.seen == CertificateSeen(known.log_id, known.time_ms)

    def note(self, known: LeaderCertificate, now: Now) -> Put:
        """Note an accepted certificate; the row to keep."""
        seen = CertificateSeen(known.log_id, known.time_ms)
        self.seen, self.noted_ms = seen, now.mono_ms
        return put_record(META_TABLE, SEEN_KEY, seen)

    def lately(self, log_id: Digest | None, now: Now) -> bool:
        """Whether a certificate of this log was in force within the last ten minutes."""
        if self.seen is None or self.seen.log_id != log_id:
            return False
        for_ms = limits.CERTIFICATE_LIFETIME_MS + limits.COMMITTEE_UNHEARD_MS
        if self.noted_ms is not None and now.mono_ms - self.noted_ms < for_ms:
            return True
        return now.wall_ms - self.seen.time_ms < for_ms
