"""JSON that clients, wallets and other people's commands send: requests, specifications, proofs."""

import json
from collections.abc import Iterator

from p2pool.codec.json import proofs, requests
from p2pool.codec.json.depth import too_deep
from p2pool.codec.json.envelope import unwrapped
from p2pool.codec.spec.reserved_keys import unheeded
from p2pool.codec.spec.spec import check_devices, check_heeded, check_sizes, parse_spec, spec_json
from p2pool.codec.text.data_uri import format_root, parse_root
from p2pool.codec.validation import (
    document_challenge,
    document_digest,
    evidence_bytes,
    evidence_digest,
    evidence_of,
)
from p2pool.model import features
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import BadSpec, Refusal
from p2pool.model.ids import Digest, StoreId
from p2pool.model.log.certificates import CommitteeChain, LeaderProof, Link
from p2pool.model.log.raft import Voter
from p2pool.wire.signers import SignerCache
from p2pool.wire.typed_data import recover_signers
from tests.codec.samples import example
from tests.fuzz.target import target
from tests.fuzz.targets.seeds import texts, vectors
from tests.fuzz.targets.text import text_of
from tests.wire.samples import NODE_ID, NOW_S, PEER_KEY, POOL

SPECS = (
    '{"image":"busybox","name":"a"}',
    '{"command":["python","t.py"],"env":{"LR":"0.1"},"image":"pytorch:2","labels":{"team":"a"},'
    '"name":"train","replicas":2,"resources":{"cpu_milli":4000,"gpu":{"count":2,"model":"h100"},'
    '"memory_bytes":8589934592},"restart":{"mode":"on-failure"}}',
    '{"constraints":[{"attribute":"node","value":"0x1"}],"image":"a/b","mounts":[{"kind":"tmpfs",'
    '"size_bytes":1048576,"target":"/t"}],"name":"a","ports":[{"container":80,"host":1}]}',
    '{"gang":true,"image":"a","name":"a","priority":3,"pull":"never","secrets":["b"],'
    '"stop_grace_s":1,"deadline_s":5,"system":false,"read_only":true,"init":true}',
    '{"image":"a","name":"a","requirements":"gpu:count=8;gpu:model=H100;ram_mb=64000"}',
)


@target("documents-spec", seeds=texts(*SPECS), allowed=[BadSpec], most_bytes=8192)
def spec(data: bytes) -> None:
    """A specification: read at one level as at the next, and its own text written anew."""
    text = text_of(data)
    newest = features.newest()
    found = parse_spec(text, newest)
    for check in (check_devices, check_heeded, check_sizes):
        check(found)
    written = spec_json(found)
    assert parse_spec(written, newest) == found
    assert spec_json(parse_spec(written, newest)) == written


@target("documents-users-spec", seeds=texts(*SPECS), allowed=[Refusal], most_bytes=8192)
def users_spec(data: bytes) -> None:
    """A specification as a user writes it, in any order."""
    value = requests.load(data)
    if isinstance(value, dict):
        written = spec_json(value)
        assert spec_json(parse_spec(written, features.newest())) == written


@target("documents-unheeded", seeds=texts(*SPECS, '{"value":"1"}', '{"beforeS":1}'), allowed=[])
def nothing_ignored(data: bytes) -> None:
    """What a request holds in vain is told, whatever its text."""
    for action in Action:
        unheeded(TaskRequest(action, 1, "", text_of(data), b"r" * 32, NOW_S, NOW_S + 60))


def _requests() -> Iterator[bytes]:
    made = example(SignedRequest)
    yield json.dumps(requests.request_json(made)).encode()
    request = TaskRequest(Action.SUBMIT, 1, "", SPECS[0], b"r" * 32, NOW_S, NOW_S + 60)
    plain = SignedRequest(request, b"s" * 64 + b"\x1b", None)
    yield json.dumps(requests.request_json(plain)).encode()


@target("documents-request", seeds=_requests, allowed=[Refusal], time_ms=500)
def request(data: bytes) -> None:
    """A signed request: its JSON written anew says the same, and its signer is found or refused."""
    value = requests.load(data)
    found = requests.read_request(value)
    assert requests.read_request(requests.request_json(found)) == found
    SignerCache(POOL)
    recover_signers(POOL, found)


def _grants() -> Iterator[bytes]:
    grant = {"pool_id": 1, "task": "01" * 16, "not_before_s": NOW_S, "not_after_s": NOW_S + 60}
    signed = {"grant": grant, "signature": "0x" + "01" * 64 + "1b"}
    yield json.dumps(signed | {"follow": True, "tail_lines": 5, "since_ms": 1}).encode()


@target("documents-logs", seeds=_grants, allowed=[Refusal])
def logs(data: bytes) -> None:
    """A request for a log, with its grant."""
    grant, options = requests.read_logs(requests.load(data))
    assert requests.read_logs(requests.logs_json(grant, options)) == (grant, options)
    recover_signers(POOL, grant)


def _invites() -> Iterator[bytes]:
    yield json.dumps(
        {
            "domain_id": 1,
            "pool_id": 1,
            "node_id": "0x" + "01" * 20,
            "nonce": str(2**200),
            "expiration_s": NOW_S,
            "signature": "0x" + "02" * 65,
        }
    ).encode()


@target("documents-invite", seeds=_invites, allowed=[Refusal])
def invite(data: bytes) -> None:
    """An invite, in a command's document or by itself."""
    from p2pool.drivers.chain.consent import invite_signer

    found = requests.read_invite(unwrapped(requests.load(data)))
    assert requests.read_invite(requests.invite_json(found)) == found
    invite_signer(found)


def _proofs() -> Iterator[bytes]:
    voter = Voter(NODE_ID, PEER_KEY, StoreId(b"s" * 16))
    link = Link(index=7, term=2, at_ms=1, voters=(voter,), signatures=(b"x",))
    made = LeaderProof(
        log_id=Digest(b"l" * 32),
        root=parse_root(format_root(RootRecord(1, NODE_ID, PEER_KEY, StoreId(b"s" * 16), None))),
        chain=CommitteeChain(1, (voter,), (link,), 0),
        certificate=(b"c",),
        votes=(b"v",),
    )
    yield json.dumps(proofs.proof_json(made)).encode()


@target("documents-proof", seeds=_proofs, allowed=[Refusal], most_bytes=8192)
def proof(data: bytes) -> None:
    """A proof of who leads: its JSON written anew says the same."""
    found = proofs.read_proof(requests.load(data))
    assert proofs.read_proof(proofs.proof_json(found)) == found


def _evidence() -> Iterator[bytes]:
    named = {"chain_id": 1, "contract": "0x" + "01" * 20, "pool_id": 1}
    yield json.dumps(named | {"first": "00", "second": "01"}).encode()
    yield json.dumps(named | {"append": "00", "word": "", "committee": []}).encode()


@target("documents-evidence", seeds=_evidence, allowed=[Refusal])
def evidence(data: bytes) -> None:
    """A proof against a voter."""
    proofs.read_evidence(requests.load(data))


def _validations() -> Iterator[bytes]:
    for one in vectors("validation")["evidence"]:
        yield bytes.fromhex(one["document"][2:-1])  # h'...'


@target("documents-validation", seeds=_validations, allowed=[Refusal], most_bytes=8192)
def validation(data: bytes) -> None:
    """A document of evidence: its digest, its challenge, and all of it are of one mind."""
    named = document_digest(data)
    challenge = document_challenge(data)
    signed = evidence_of(data)
    assert evidence_bytes(signed) == data
    assert evidence_digest(signed.evidence) == named
    assert signed.evidence.transcript.challenge == challenge


@target(
    "documents-depth",
    seeds=texts("[[]]", '[{"a":"[\\""}]', "[]" * 70 + '"\\"\\"'),
    allowed=[],
    time_ms=20,
    us_per_byte=2,
)
def depth(data: bytes) -> None:
    """How deep any text is nested."""
    text = text_of(data)
    deep = too_deep(text, 4)
    try:
        value = None if too_deep(text) else json.loads(text)
    except ValueError:
        return
    if value is None:
        return
    assert deep == (_depth(value) > 4)


def _depth(value: object) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return 0
    return 1 + max(map(_depth, value), default=0)
