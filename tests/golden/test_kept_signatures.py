"""What voters of 0.1.0 signed still proves what it proved."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec import payloads
from p2pool.codec.cbor import canonical
from p2pool.codec.cbor.structs import to_value
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.ids import StateDigest
from p2pool.model.messages.certificates import CertificateSigned
from p2pool.model.messages.registry import Channel
from p2pool.proofs.certificates import equivocation
from p2pool.wire import envelope
from p2pool.wire.enclosures import open_one
from tests.wire.committee import A, B, Member, word
from tests.wire.samples import NOW_MS, POOL

DIGEST = b"S" * 32


def by_0_1_0(
    monkeypatch: pytest.MonkeyPatch, signer: Member, message: CertificateSigned, digest: bytes
) -> bytes:
    """The message as that release sealed it: version 1, the digest without its algorithm."""
    fields = to_value(message)
    fields[payloads.STATE_DIGEST_AT] = digest
    head: list[canonical.Value] = [17, 1, signer.voter.node_id, 1, 0, NOW_MS]
    old = canonical.encode([*head, *fields, {}])
    with monkeypatch.context() as then:
        then.setattr(envelope, "encode_payload", lambda header, message, ext: old)
        return signer.seal(message)


def test_two_words_of_0_1_0_still_prove_that_a_voter_lied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidence on a disk of that release opens, with digests of algorithm 0."""
    words = [word(A, (A, B), leader=one) for one in (A, B)]
    opened = [open_one(POOL, by_0_1_0(monkeypatch, A, one, DIGEST)) for one in words]
    first, second = opened
    assert first is not None
    assert second is not None
    assert isinstance(first.message, CertificateSigned)
    assert first.message.state_digest == StateDigest(b"\x00" + DIGEST)
    evidence = equivocation(first, second)
    assert (evidence.voter, {evidence.first_for, evidence.second_for}) == (
        A.voter,
        {A.voter, B.voter},
    )


def test_from_its_sender_a_message_comes_in_its_own_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An agent of 0.1.0 is not taken for one whose state differs: it is not heard at all."""
    sealed = by_0_1_0(monkeypatch, A, word(A, (A, B)), DIGEST)
    most = limits.STREAM_FRAME_MAX_BYTES
    assert envelope.open_sealed(sealed, POOL, max_bytes=most).message is not None
    with pytest.raises(Malformed, match="unknown version"):
        envelope.open_sealed(sealed, POOL, max_bytes=most, channel=Channel.RAFT)


@given(st.binary(max_size=40).filter(lambda digest: len(digest) != 32))
def test_a_kept_word_with_another_digest_is_no_good(digest: bytes) -> None:
    """Whatever stands in the digest's place."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        sealed = by_0_1_0(monkeypatch, A, word(A, (A, B)), digest)
    assert open_one(POOL, sealed) is None
