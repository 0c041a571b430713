"""What accounts sign is what a wallet shows, and tells who signed it."""

from contextlib import suppress
from typing import Any

import attrs
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec.cbor.structs import decode_struct, encode_struct
from p2pool.model import limits
from p2pool.model.access.delegations import (
    Delegation,
    DelegationFile,
    Quota,
    Scope,
    SignedDelegation,
)
from p2pool.model.access.grants import LogGrant
from p2pool.model.access.requests import Action, SignedRequest, Signers, TaskRequest
from p2pool.model.errors import BadSignature, Malformed, NotAllowed, NotForUs, Refusal, Stale
from p2pool.model.ids import ETH_SIGNATURE_BYTES, Address, Digest, NodeId, PeerKey
from p2pool.model.messages.task_streams import LogsOpened
from p2pool.model.peer_binding import PeerBinding
from p2pool.wire import eip712, typed_data
from p2pool.wire.binding import binding_typed_data
from tests.codec.samples import example, instances
from tests.wire.samples import ACCOUNT, NOW_S, OTHER_ACCOUNT, POOL

ME, OTHER = (Address(bytes.fromhex(a.address[2:])) for a in (ACCOUNT, OTHER_ACCOUNT))
REQUEST = TaskRequest(
    action=Action.SUBMIT,
    pool_id=1,
    target="",
    spec_json='{"image":"busybox","name":"a"}',
    request_id=b"r" * 32,
    not_before_s=NOW_S,
    not_after_s=NOW_S + 600,
)
SIGNED = typed_data.sign_request(POOL, ACCOUNT, REQUEST)
DELEGATION = Delegation(
    pool_id=1, delegate=OTHER, scope=Scope.SUBMIT, not_before_s=NOW_S, not_after_s=NOW_S + 10**6
)
QUOTA = Quota(
    max_gpus=4, max_cpu_milli=2_500, max_replicas=8, max_priority=60, name_prefix="team-a-"
)
LIMITED = attrs.evolve(DELEGATION, quota=QUOTA)


def test_a_request_tells_its_signer() -> None:
    """The account that signed is recovered, also from bytes."""
    assert typed_data.recover_request(POOL, SIGNED) == ME
    assert (
        typed_data.recover_request(POOL, decode_struct(SignedRequest, encode_struct(SIGNED))) == ME
    )
    assert typed_data.recover_signers(POOL, SIGNED).principal == ME
    typed_data.check_times(SIGNED, NOW_S)


def test_a_wallet_signs_the_same() -> None:
    """eth-account, given the typed data as a wallet is, makes the same signature."""
    message = typed_data.request_typed_data(POOL, REQUEST)
    assert Account.sign_typed_data(ACCOUNT.key, full_message=message).signature == SIGNED.signature
    types = [(field["type"], field["name"]) for field in message["types"]["TaskRequest"]]
    assert types == [
        ("string", "action"),
        ("uint256", "poolId"),
        ("string", "target"),
        ("string", "specJson"),
        ("bytes32", "requestId"),
        ("uint64", "notBefore"),
        ("uint64", "notAfter"),
    ]


@given(instances(TaskRequest), instances(Delegation), instances(LogGrant))
def test_digests_are_those_of_eth_account(
    request: TaskRequest, delegation: Delegation, grant: LogGrant
) -> None:
    """Whatever the fields hold: our encoder of EIP-712 and the reference give the same bytes."""
    times: dict[str, Any] = {
        "pool_id": POOL.pool_id,
        "not_before_s": NOW_S,
        "not_after_s": NOW_S + 60,
    }
    request = attrs.evolve(request, request_id=b"i" * 32, **times)
    signature = bytes(ETH_SIGNATURE_BYTES)
    binding = PeerBinding(
        chain_id=POOL.chain_id,
        contract=POOL.contract,
        pool_id=POOL.pool_id,
        node_id=NodeId(b"n" * 20),
        peer_key=PeerKey(b"k" * 32),
        not_before_s=NOW_S,
        not_after_s=NOW_S + 60,
        node_signature=signature,
        peer_signature=bytes(64),
    )
    for message in (
        typed_data.request_typed_data(POOL, request),
        typed_data.delegation_typed_data(POOL, attrs.evolve(delegation, **times)),
        typed_data.delegation_typed_data(POOL, attrs.evolve(LIMITED, **times)),
        typed_data.grant_typed_data(POOL, attrs.evolve(grant, **times)),
        binding_typed_data(POOL, binding),
    ):
        reference = encode_typed_data(full_message=message)
        hashed = keccak(b"\x19" + reference.version + reference.header + reference.body)
        assert eip712.typed_digest(message) == hashed


@pytest.mark.parametrize(
    "change",
    [
        {"action": Action.STOP},
        {"target": "00"},
        {"spec_json": "{}"},
        {"request_id": b"s" * 32},
        {"not_before_s": NOW_S + 1},
        {"not_after_s": NOW_S + 601},
    ],
)
def test_every_field_is_signed(change: dict[str, Any]) -> None:
    """A request changed after signing is somebody else's, who has no rights."""
    changed = attrs.evolve(SIGNED, request=attrs.evolve(REQUEST, **change))
    with suppress(BadSignature):
        assert typed_data.recover_request(POOL, changed) != ME


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"pool_id": 2}, NotForUs),
        ({"not_after_s": NOW_S}, Malformed),
        ({"not_before_s": -1}, Malformed),
        ({"not_after_s": NOW_S + limits.REQUEST_LIFETIME_MAX_S + 1}, Malformed),
        ({"request_id": b"r"}, Malformed),
        ({"spec_json": "\ud800"}, Malformed),
    ],
)
def test_requests_that_nobody_should_sign(change: dict[str, Any], refusal: type[Refusal]) -> None:
    """Refused before a signature is made, and when one is presented."""
    request = attrs.evolve(REQUEST, **change)
    with pytest.raises(refusal):
        typed_data.sign_request(POOL, ACCOUNT, request)
    with pytest.raises(refusal):
        typed_data.recover_request(POOL, attrs.evolve(SIGNED, request=request))


def test_domains_keep_pools_apart() -> None:
    """On another chain or contract the same bytes are somebody else's."""
    for pool in (attrs.evolve(POOL, chain_id=1), attrs.evolve(POOL, contract=Address(bytes(20)))):
        assert typed_data.recover_request(pool, SIGNED) != ME


def test_signatures_have_one_form() -> None:
    """The other s, the other v, and other lengths are refused: nobody makes a second signature."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    r, s, v = SIGNED.signature[:32], SIGNED.signature[32:64], SIGNED.signature[64]
    high = (order - int.from_bytes(s, "big")).to_bytes(32, "big")
    for wrong in (
        r + high + bytes([55 - v]),
        r + s + bytes([v - 27]),
        SIGNED.signature[:64],
        SIGNED.signature + b"\0",
        b"",
        bytes(64) + b"\x1b",
        b"\xff" * 32 + s + b"\x1b",
    ):
        with pytest.raises(BadSignature):
            typed_data.recover_request(POOL, attrs.evolve(SIGNED, signature=wrong))


@given(st.binary(max_size=66) | st.binary(min_size=64, max_size=64).map(lambda b: b + b"\x1c"))
def test_any_signature_is_an_account_or_refused(signature: bytes) -> None:
    """Nothing but `BadSignature` gets out."""
    with suppress(BadSignature):
        assert len(eip712.recover(Digest(b"d" * 32), signature)) == 20


@given(instances(SignedRequest))
def test_any_request_is_recovered_or_refused(signed: SignedRequest) -> None:
    """Whatever a decoded request holds, the answer is an account or a typed refusal."""
    with pytest.raises(Refusal):
        typed_data.recover_request(POOL, signed)
    request = attrs.evolve(
        signed.request, pool_id=1, not_before_s=NOW_S, not_after_s=NOW_S + 1, request_id=b"r" * 32
    )
    resigned = typed_data.sign_request(POOL, ACCOUNT, request)
    assert typed_data.recover_request(POOL, resigned) == ME


def test_times() -> None:
    """Expired and future requests are stale, with the skew of a clock allowed in front."""
    skew_s = limits.CLOCK_SKEW_MAX_MS // 1000
    typed_data.check_times(SIGNED, NOW_S - skew_s)
    for now_s in (NOW_S - skew_s - 1, NOW_S + 601):
        with pytest.raises(Stale):
            typed_data.check_times(SIGNED, now_s)


def test_delegations() -> None:
    """A delegate signs for itself; the grantor's signature must be on its delegation."""
    given_ = typed_data.sign_delegation(POOL, ACCOUNT, DELEGATION)
    signed = typed_data.sign_request(POOL, OTHER_ACCOUNT, REQUEST, given_)
    assert typed_data.recover_signers(POOL, signed) == Signers(OTHER, ME)
    assert typed_data.recover_signers(POOL, signed).principal == ME
    assert typed_data.recover_delegation(POOL, given_) == ME
    with pytest.raises(NotAllowed):
        typed_data.recover_signers(POOL, typed_data.sign_request(POOL, ACCOUNT, REQUEST, given_))
    raised = attrs.evolve(given_, delegation=attrs.evolve(DELEGATION, scope=Scope.ADMIN))
    assert typed_data.recover_signers(POOL, attrs.evolve(signed, delegation=raised)).principal != ME
    with pytest.raises(Stale):
        typed_data.check_times(signed, NOW_S + 10**6 + 1)
    short = typed_data.sign_delegation(
        POOL, ACCOUNT, attrs.evolve(DELEGATION, not_after_s=NOW_S + 10)
    )
    with pytest.raises(Stale, match="Delegation"):
        typed_data.check_times(attrs.evolve(signed, delegation=short), NOW_S + 11)


def test_grants_travel_in_log_frames() -> None:
    """A grant is taken out of the frame that opens a log stream, with its delegation."""
    given_ = typed_data.sign_delegation(POOL, ACCOUNT, DELEGATION)
    grant = LogGrant(1, "ab" * 16, NOW_S, NOW_S + 60)
    signed = typed_data.sign_grant(POOL, OTHER_ACCOUNT, grant, given_)
    frame = attrs.evolve(
        example(LogsOpened),
        grant_pool_id=1,
        grant_task=grant.task,
        grant_not_before_s=grant.not_before_s,
        grant_not_after_s=grant.not_after_s,
        grant_signature=signed.signature,
        grant_delegation=typed_data.delegation_bytes(given_),
    )
    found = typed_data.grant_of(decode_struct(LogsOpened, encode_struct(frame)))
    assert found == signed
    assert typed_data.recover_signers(POOL, found) == Signers(OTHER, ME)
    typed_data.check_times(found, NOW_S)
    with pytest.raises(Malformed):
        typed_data.grant_of(attrs.evolve(frame, grant_delegation=b"junk"))
    assert typed_data.delegation_bytes(None) == b""


def test_a_task_has_one_name() -> None:
    """Signed by whomever, however often, a request names the same task."""
    again = typed_data.sign_request(POOL, OTHER_ACCOUNT, REQUEST)
    assert typed_data.task_id(POOL, SIGNED) == typed_data.task_id(POOL, again)


# --- quotas -------------------------------------------------------------------------------------


def test_a_wallet_shows_each_limit() -> None:
    """Each limit of a quota stands in the typed data in words, also one that is not set."""
    message = typed_data.delegation_typed_data(POOL, LIMITED)
    types = [(field["type"], field["name"]) for field in message["types"]["Delegation"]]
    limited = ("maxGpus", "maxCpus", "maxReplicas", "maxPriority", "namePrefix")
    assert [pair for pair in types if pair[1] in limited] == [("string", name) for name in limited]
    shown = {name: message["message"][name] for name in limited}
    assert shown == {
        "maxGpus": "4",
        "maxCpus": "2.5",
        "maxReplicas": "8",
        "maxPriority": "60",
        "namePrefix": "team-a-",
    }
    unset = typed_data.delegation_typed_data(POOL, attrs.evolve(DELEGATION, quota=Quota()))
    shown = {name: unset["message"][name] for name in limited}
    assert list(shown.values()) == ["no limit"] * 4 + ["any name"]
    signed = typed_data.sign_delegation(POOL, ACCOUNT, LIMITED)
    assert Account.sign_typed_data(ACCOUNT.key, full_message=message).signature == signed.signature


def test_a_delegation_of_an_older_version_still_holds() -> None:
    """What was signed before there were quotas has the type, and the signer, that it had."""
    message = typed_data.delegation_typed_data(POOL, DELEGATION)
    assert [field["name"] for field in message["types"]["Delegation"]] == [
        "poolId",
        "delegate",
        "scope",
        "notBefore",
        "notAfter",
    ]
    signature = Account.sign_typed_data(ACCOUNT.key, full_message=message).signature
    assert typed_data.recover_delegation(POOL, SignedDelegation(DELEGATION, signature)) == ME


LESSER = st.fixed_dictionaries(
    {},
    optional={
        "max_gpus": st.none() | st.integers(0, 10),
        "max_cpu_milli": st.none() | st.integers(0, 10_000),
        "max_replicas": st.none() | st.integers(0, 10),
        "max_priority": st.none() | st.integers(0, limits.PRIORITY_MAX),
        "name_prefix": st.none() | st.sampled_from(("team-", "team-a", "no")),
    },
)


@given(LESSER)
def test_nobody_changes_a_quota(change: dict[str, Any]) -> None:
    """A quota changed or taken off after signing makes the delegation somebody else's."""
    signed = typed_data.sign_delegation(POOL, ACCOUNT, LIMITED)
    other = attrs.evolve(QUOTA, **change)
    for quota in (None, Quota(), other):
        changed = attrs.evolve(signed, delegation=attrs.evolve(LIMITED, quota=quota))
        if quota == QUOTA:
            assert typed_data.recover_delegation(POOL, changed) == ME
            continue
        with suppress(BadSignature):
            assert typed_data.recover_delegation(POOL, changed) != ME
    plain = typed_data.sign_delegation(POOL, ACCOUNT, DELEGATION)
    with suppress(BadSignature):
        put_on = attrs.evolve(plain, delegation=LIMITED)
        assert typed_data.recover_delegation(POOL, put_on) != ME


@given(st.integers(0, limits.QUOTA_NUMBER_MAX))
def test_cpus_are_written_in_one_way(cpu_milli: int) -> None:
    """The CPUs that a wallet shows are those of the quota, to the thousandth."""
    shown = typed_data.quota_words(Quota(max_cpu_milli=cpu_milli))["maxCpus"]
    whole, _, rest = shown.partition(".")
    assert int(whole) * 1000 + int(rest.ljust(3, "0")) == cpu_milli
    assert not rest.endswith("0")


def test_a_quota_that_no_wallet_could_show_is_not_signed() -> None:
    """A prefix that could pass for other words, or begins no name, is refused."""
    for prefix in ("any name", "no limit", "", "X"):
        bad = attrs.evolve(DELEGATION, quota=Quota(name_prefix=prefix))
        with pytest.raises(Malformed, match="begins no name"):
            typed_data.delegation_typed_data(POOL, bad)


def test_a_file_names_who_signed_it() -> None:
    """A file that names another grantor, or holds another delegation, is found out."""
    signed = typed_data.sign_delegation(POOL, ACCOUNT, LIMITED)
    good = DelegationFile(POOL, ME, signed)
    typed_data.check_delegation_file(good)
    stripped = attrs.evolve(signed, delegation=DELEGATION)
    for bad in (attrs.evolve(good, grantor=OTHER), attrs.evolve(good, signed=stripped)):
        with pytest.raises(BadSignature):
            typed_data.check_delegation_file(bad)


def test_a_log_stream_carries_a_quota() -> None:
    """The grant in the first frame of a stream holds the delegation whole, quota and all."""
    under = typed_data.sign_delegation(POOL, ACCOUNT, LIMITED)
    grant = LogGrant(1, "00" * 16, NOW_S, NOW_S + 60)
    signed = typed_data.sign_grant(POOL, OTHER_ACCOUNT, grant, under)
    opened = attrs.evolve(
        example(LogsOpened),
        grant_pool_id=grant.pool_id,
        grant_task=grant.task,
        grant_not_before_s=grant.not_before_s,
        grant_not_after_s=grant.not_after_s,
        grant_signature=signed.signature,
        grant_delegation=typed_data.delegation_bytes(under),
    )
    assert typed_data.grant_of(opened) == signed


# --- contract accounts ----------------------------------------------------------------------------


CONTRACT = Address(b"C" * 20)


def test_a_contract_account_is_named_and_its_digest_is_the_wallets() -> None:
    """Nothing is recovered: what it is asked is the digest that its owners' wallets sign."""
    signed = attrs.evolve(SIGNED, signature=b"any bytes", contract=CONTRACT)
    assert signed.by_contract
    assert typed_data.recover_signers(POOL, signed) == Signers(CONTRACT)
    (asked,) = typed_data.contract_signatures(POOL, signed)
    message = encode_typed_data(full_message=typed_data.request_typed_data(POOL, REQUEST))
    hashed = keccak(b"\x19" + message.version + message.header + message.body)
    assert (asked.contract, asked.digest, asked.signature) == (CONTRACT, hashed, b"any bytes")


def test_every_contract_under_a_statement_is_asked() -> None:
    """The signer's and the grantor's; a key's signature costs no question."""
    given = typed_data.sign_delegation(POOL, OTHER_ACCOUNT, attrs.evolve(DELEGATION, delegate=ME))
    assert typed_data.contract_signatures(POOL, attrs.evolve(SIGNED, delegation=given)) == ()
    under = attrs.evolve(given, contract=CONTRACT)
    by_delegate = attrs.evolve(SIGNED, delegation=under)
    assert by_delegate.by_contract
    assert typed_data.recover_signers(POOL, by_delegate) == Signers(ME, CONTRACT)
    assert [a.contract for a in typed_data.contract_signatures(POOL, by_delegate)] == [CONTRACT]
    other = Address(b"D" * 20)
    made_out = attrs.evolve(under, delegation=attrs.evolve(DELEGATION, delegate=other))
    both = attrs.evolve(SIGNED, contract=other, delegation=made_out)
    assert [a.contract for a in typed_data.contract_signatures(POOL, both)] == [other, CONTRACT]


def test_nobody_is_no_contract() -> None:
    """The chain's word for *no account* signs nothing."""
    with pytest.raises(BadSignature, match="zero address"):
        typed_data.recover_signers(POOL, attrs.evolve(SIGNED, contract=Address(bytes(20))))


def test_a_log_stream_carries_a_contracts_grant() -> None:
    """Its account stands in the first frame, and its delegation's in the delegation."""
    under = attrs.evolve(
        typed_data.sign_delegation(POOL, ACCOUNT, attrs.evolve(DELEGATION, delegate=CONTRACT)),
        contract=Address(b"D" * 20),
    )
    grant = LogGrant(1, "00" * 16, NOW_S, NOW_S + 60)
    signed = attrs.evolve(typed_data.sign_grant(POOL, ACCOUNT, grant, under), contract=CONTRACT)
    opened = attrs.evolve(
        example(LogsOpened),
        grant_pool_id=grant.pool_id,
        grant_task=grant.task,
        grant_not_before_s=grant.not_before_s,
        grant_not_after_s=grant.not_after_s,
        grant_signature=signed.signature,
        grant_delegation=typed_data.delegation_bytes(under),
        grant_contract=CONTRACT,
    )
    assert typed_data.grant_of(opened) == signed
