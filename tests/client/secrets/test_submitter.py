"""What a submitter seals, to whom, and what it refuses before anything leaves its process."""

import attrs
import pytest
from eth_account import Account
from nacl.signing import SigningKey

from p2pool.client.secrets import (
    Candidate,
    candidates_of,
    check_values,
    recipients_of,
    seal,
    with_secrets,
)
from p2pool.codec.digests import digest
from p2pool.codec.spec.spec import parse_spec, spec_json
from p2pool.model import limits
from p2pool.model.errors import BadSpec
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import Address, NodeId, PeerKey, PoolRef
from p2pool.model.tasks.secrets import (
    ANYONE,
    RecipientPolicy,
    RegistryAuth,
    SecretOwner,
    SecretValue,
)
from p2pool.wire import sealed_box
from p2pool.wire.binding import make_binding

POOL = PoolRef(31337, Address(b"\x11" * 20), 1)
OWNER = SecretOwner(POOL, Address(b"\x33" * 20), b"r" * 32)
NOW_S = 1_800_000_000
DB = SecretValue("db", b"hunter2", True, "DB_PASSWORD")


def candidate(number: int, provider: bytes = b"\x55" * 20) -> Candidate:
    account = Account.from_key(bytes([number]) * 32)
    binding = make_binding(POOL, account, SigningKey(bytes([number]) * 32), NOW_S)
    return Candidate(binding.node_id, Address(provider), binding)


FIRST, SECOND = candidate(1), candidate(2, b"\x66" * 20)


def test_what_is_sealed_is_what_the_specification_names() -> None:
    """Digest and size are the blob's, and a recipient reads the values."""
    recipients = recipients_of([FIRST, SECOND], ANYONE, POOL, NOW_S)
    found = seal([DB], OWNER, recipients, auth=RegistryAuth("me", "token"))
    assert found.recipients == (FIRST.node_id, SECOND.node_id)
    text = spec_json(with_secrets({"name": "a", "image": "busybox"}, found))
    secrets = parse_spec(text, DISTRUST_LEVEL).secrets
    assert secrets == found.secrets
    assert (secrets.digest, secrets.size_bytes) == (digest(found.blob).hex(), len(found.blob))
    assert "hunter2" not in text + repr(found)
    blob = sealed_box.read_blob(found.blob)
    key = sealed_box.open_key(blob.keys[1], blob, OWNER, SigningKey(bytes([2]) * 32))
    contents = sealed_box.decrypt(blob, OWNER, key)
    assert [(one.name, one.value) for one in contents.values] == [("db", b"hunter2")]
    assert (contents.username, contents.password) == ("me", "token")


def test_a_binding_that_is_not_signed_by_both_keys_gets_no_key() -> None:
    """An agent names a peer key of its own for somebody else's node."""
    thief = PeerKey(bytes(SigningKey(b"\x09" * 32).verify_key))
    forged = attrs.evolve(FIRST, binding=attrs.evolve(FIRST.binding, peer_key=thief))
    other = attrs.evolve(FIRST, node_id=SECOND.node_id)
    old = attrs.evolve(FIRST.binding, not_before_s=0)
    expired = attrs.evolve(FIRST, binding=old)
    found = recipients_of([forged, other, expired, SECOND], ANYONE, POOL, NOW_S)
    assert found == ((SECOND.node_id, SECOND.binding.peer_key),)


def test_who_is_no_member_by_the_chain_gets_no_key() -> None:
    """However good its binding is: a node in no pool signs one too."""
    assert not recipients_of([FIRST], ANYONE, POOL, NOW_S, members={SECOND.node_id})


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (RecipientPolicy(nodes=(SECOND.node_id.hex(),)), SECOND),
        (RecipientPolicy(providers=((b"\x66" * 20).hex(),)), SECOND),
        (RecipientPolicy((FIRST.node_id.hex(),), ((b"\x77" * 20).hex(),)), FIRST),
    ],
)
def test_a_policy_decides(policy: RecipientPolicy, expected: Candidate) -> None:
    """By node or by provider."""
    found = recipients_of([FIRST, SECOND], policy, POOL, NOW_S)
    assert [node_id for node_id, _ in found] == [expected.node_id]


def test_nobody_to_seal_to_is_an_error() -> None:
    """The task could never start."""
    with pytest.raises(BadSpec, match="No node"):
        seal([DB], OWNER, [])


def test_recipients_are_bounded() -> None:
    """Holders seal on to the others."""
    many = [candidate(1 + number) for number in range(limits.SECRET_RECIPIENTS_MAX + 3)]
    assert len(recipients_of(many, ANYONE, POOL, NOW_S)) == limits.SECRET_RECIPIENTS_MAX


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([SecretValue("../x", b"")], "not a secret's name"),
        ([SecretValue(".x", b"")], "not a secret's name"),
        ([DB, DB], "twice"),
        ([DB, SecretValue("b", b"", True, "DB_PASSWORD")], "variable twice"),
        ([SecretValue("a", b"x", False, None)], "neither a file nor a variable"),
        ([SecretValue("a", b"a\0b", True, "A")], "zero byte"),
        ([SecretValue("a", bytes(limits.SECRET_MAX_BYTES + 1))], "bytes"),
        ([SecretValue(f"a{n}", bytes(limits.SECRET_MAX_BYTES)) for n in range(3)], "all secrets"),
        ([SecretValue(f"a{n}", b"") for n in range(limits.SECRETS_MAX + 1)], "at most"),
        ([], "names none"),
    ],
)
def test_bad_values_are_refused_with_every_problem(values: list[SecretValue], said: str) -> None:
    """Before anything is encrypted; the message shows no value."""
    with pytest.raises(BadSpec) as caught:
        check_values(values, None)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_rows_that_cannot_be_read_are_left_out() -> None:
    """Whatever an agent answers."""
    binding = FIRST.binding
    good = {
        "node_id": "0x" + FIRST.node_id.hex(),
        "provider": "0x" + FIRST.provider.hex(),
        "eligible": True,
        "peer_key": binding.peer_key.hex(),
        "not_before_s": binding.not_before_s,
        "not_after_s": binding.not_after_s,
        "node_signature": binding.node_signature.hex(),
        "peer_signature": binding.peer_signature.hex(),
    }
    bad = [
        {**good, "eligible": False},
        {**good, "node_id": 5},
        {**good, "peer_key": "zz"},
        {**good, "peer_key": "00"},
        {**good, "not_after_s": None},
        {"node_id": good["node_id"]},
    ]
    assert candidates_of([*bad, good], POOL) == (FIRST,)
    assert isinstance(FIRST.node_id, bytes)
    assert NodeId(FIRST.node_id) == FIRST.node_id
