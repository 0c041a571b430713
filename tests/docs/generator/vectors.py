"""The golden bytes of the wire, published for other implementations: `docs/vectors/*.json`.

Intuition: `tests/golden` pins bytes for ourselves; here they stand with the keys and values that
they are made of, so that somebody else can make them too. Envelopes, bodies, records and digests
are those of `tests/golden`; what is not in there (certificates, typed data, texts of the chain) is
made from the same fixed keys. Both curves sign deterministically (RFC 8032, RFC 6979).

Values: a byte string is the text `h'<hex>'` (CBOR's diagnostic notation), a record an object whose
keys are in the order of the wire, everything else is JSON's own.
"""

import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NewType, Union, get_args, get_origin

import attrs
import cbor2

from p2pool.codec import digests
from p2pool.codec.cbor import canonical
from p2pool.codec.cbor.structs import fields_of, to_value
from p2pool.codec.entries import RECORDS
from p2pool.codec.text.data_uri import format_root
from p2pool.codec.text.peer_id import peer_id
from p2pool.drivers.chain.consent import (
    KeyManager,
    consent_digest,
    invite_digest,
    personal_hash,
    sign_consent,
)
from p2pool.drivers.net.transport.frames import encode_frame
from p2pool.model import limits
from p2pool.model.access.requests import SignedRequest
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import Malformed
from p2pool.model.ids import Address
from p2pool.model.log import raft
from p2pool.model.machine.hardware import Hardware
from p2pool.model.messages.registry import DECLARATIONS, TYPES
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.tasks.secrets import KeyStatement, SecretBlob, SecretContents
from p2pool.wire import eip712, envelope
from tests.codec.samples import example
from tests.docs.generator import facts
from tests.docs.generator.forms import parted
from tests.docs.generator.validation import validation
from tests.wire import committee
from tests.wire.samples import ACCOUNT, HEADER, KEY, OTHER_ACCOUNT, PEER_KEY, POOL

GOLDEN = Path(__file__).parents[2] / "golden" / "messages.json"
HEADER_FIELDS = 6
NAMED: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        *(raft.Entry, raft.HardState, raft.Snapshot, SignedRequest, PeerBinding),
        *(SecretBlob, SecretContents, KeyStatement),
    )
}
"""The records of `tests/golden` by their names."""


# --- values -------------------------------------------------------------------------------------


def shown(value: Any) -> Any:
    """A CBOR value as JSON."""
    if isinstance(value, bytes):
        return f"h'{value.hex()}'"
    if isinstance(value, list | tuple):
        return [shown(item) for item in value]
    return value


def named(hint: Any, value: Any) -> Any:
    """A CBOR value as JSON, with the names of its fields where a hint says them."""
    bare, _, _ = parted(hint)
    if value is None or isinstance(bare, NewType):
        return shown(value)
    origin, arguments = get_origin(bare), get_args(bare)
    if origin in (Union, types.UnionType):
        (inner,) = [one for one in arguments if one is not type(None)]
        return named(inner, value)
    if origin is tuple and arguments[-1] is Ellipsis:
        return [named(arguments[0], item) for item in value]
    if origin is tuple:
        return [named(one, item) for one, item in zip(arguments, value, strict=True)]
    return fields(bare, value) if attrs.has(bare) else shown(value)


def fields(cls: type, values: list[Any]) -> dict[str, Any]:
    """The values of a record by the names of its fields, as many as there are."""
    pairs = zip(fields_of(cls), values, strict=False)
    return {name: named(hint, value) for (name, hint), value in pairs}


def _golden() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return found


# --- the files ----------------------------------------------------------------------------------


def keys() -> Any:
    """The pool and the keys of all that is signed in the other files."""
    return {
        "about": "The pool, the keys and the header that the other files are made with.",
        "pool": {
            "chain_id": POOL.chain_id,
            "contract": f"h'{POOL.contract.hex()}'",
            "pool_id": POOL.pool_id,
        },
        "peer": {
            "seed": f"h'{bytes(KEY).hex()}'",
            "peer_key": f"h'{PEER_KEY.hex()}'",
            "peer_id": peer_id(PEER_KEY),
        },
        "node": _account(ACCOUNT),
        "other_account": _account(OTHER_ACCOUNT),
        "header": {
            "node_id": f"h'{HEADER.node_id.hex()}'",
            "incarnation": HEADER.incarnation,
            "sequence": HEADER.sequence,
            "sent_at_ms": HEADER.sent_at_ms,
        },
    }


def _account(account: Any) -> dict[str, str]:
    return {"private_key": f"h'{account.key.hex()}'", "address": account.address}


def _number(item: tuple[str, Any]) -> int:
    """So that the order in which modules are imported changes nothing."""
    number: int = item[1]["type"]
    return number


def messages() -> Any:
    """Each message: its fields, its payload, and the envelope that the sample's peer key made."""
    found = []
    for name, golden in sorted(_golden()["messages"].items(), key=_number):
        cls = TYPES[golden["type"]]
        payload = cbor2.loads(bytes.fromhex(golden["payload"]))
        found.append(
            {
                "name": name,
                "number": golden["type"],
                "version": payload[1],
                "channel": DECLARATIONS[cls].channel.value,
                "purpose": envelope.purpose_of(cls),
                "fields": fields(cls, payload[HEADER_FIELDS:-1]),
                "payload": f"h'{golden['payload']}'",
                "envelope": f"h'{golden['sealed']}'",
            }
        )
    return {
        "about": "Payloads and envelopes of every message, by the peer and header of keys.json.",
        "messages": found,
    }


def entries() -> Any:
    """The body of each kind of log entry, and other records that are kept or sent as bytes."""
    golden = _golden()
    kinds = {int(kind): cls for kind, cls in RECORDS.items()}
    bodies = [
        {
            "name": name,
            "kind": one["kind"],
            "fields": fields(kinds[one["kind"]], cbor2.loads(bytes.fromhex(one["body"]))),
            "body": f"h'{one['body']}'",
        }
        for name, one in sorted(golden["bodies"].items(), key=lambda item: int(item[1]["kind"]))
    ]
    records = [
        {
            "name": name,
            "fields": fields(NAMED[name], cbor2.loads(bytes.fromhex(data))),
            "bytes": f"h'{data}'",
        }
        for name, data in golden["records"].items()
        if name in NAMED
    ]
    return {
        "about": "Bodies of log entries by their kinds, and other records, as canonical CBOR.",
        "entries": bodies,
        "records": records,
    }


def named_digests() -> Any:
    """Each digest with the array that it is over."""
    golden = _golden()["digests"]
    pool = to_value(POOL)
    over: dict[str, list[Any]] = {
        "log_id": ["log", pool, to_value(example(RootRecord))],
        "configuration_hash": ["configuration", to_value(example(raft.Configuration))],
        "hardware_digest": ["hardware", to_value(example(Hardware))],
        "task_id": ["request", pool, to_value(facts.request())],
    }
    found = []
    for name, values in over.items():
        array = [envelope.FORMAT, *values]
        digest = digests.digest(canonical.encode(array))
        assert digest.hex().startswith(golden[name]), name
        found.append({"name": name, "over": shown(array), "digest": f"h'{golden[name]}'"})
    return {
        "about": "SHA-256 over the canonical CBOR of `over`; a task id is its first 16 bytes.",
        "digests": found,
    }


def typed_data() -> Any:
    """What accounts sign, as a wallet takes it, with digests and signatures."""
    found = []
    for primary, data in facts.typed_samples().items():
        digest = eip712.typed_digest(data)
        message = {
            name: f"0x{value.hex()}" if isinstance(value, bytes) else value
            for name, value in data["message"].items()
        }
        found.append(
            {
                "name": primary,
                "typed_data": {**data, "message": message},
                "digest": f"h'{digest.hex()}'",
                "signer": ACCOUNT.address,
                "signature": f"h'{eip712.sign_digest(ACCOUNT, digest).hex()}'",
            }
        )
    golden = _golden()["digests"]
    assert found[1]["signature"] == f"h'{golden['request_signature']}'"
    return {
        "about": "EIP-712 typed data as eth_signTypedData_v4 takes them, signed by `node`.",
        "binding": {
            "about": "A PeerBinding record: its node signature is over the digest of the typed "
            "data, its peer signature is Ed25519 over those 32 bytes.",
            "bytes": f"h'{golden['binding']}'",
        },
        "typed_data": found,
    }


def certificates() -> Any:
    """A chain of committees from a root record, and who leads, with the verdicts on variations."""
    proof = committee.proven()
    assert proof.root is not None
    a, b = committee.A, committee.B
    twice = [proof.certificate[0], proof.certificate[0]]
    other = a.seal(committee.word(a, (a, b), log_id=proof.log_id))
    bad = [
        ("a voter counted twice", twice),
        ("a signature over another committee", [*proof.certificate[:1], other]),
        ("one of three voters", list(proof.certificate[:1])),
    ]
    return {
        "about": "Seeds of the voters are 32 bytes of 1, 2, 3; each is node 20 bytes of the same.",
        "root_record": fields(RootRecord, to_value(proof.root)),
        "log_id": f"h'{proof.log_id.hex()}'",
        "chain": fields(type(proof.chain), to_value(proof.chain)),
        "committee_hashes": [
            f"h'{digests.committee_hash(voters).hex()}'"
            for voters in (proof.chain.base, *(link.voters for link in proof.chain.links))
        ],
        "certificate": shown(proof.certificate),
        "votes": shown(proof.votes),
        "leader": fields(raft.Voter, to_value(a.voter)),
        "no_certificates": [{"why": why, "certificate": shown(made)} for why, made in bad],
    }


def chain_texts() -> Any:
    """What stands on the chain or is signed for it: a root record, a consent, an invite."""
    root = committee.FOUNDING
    invite = KeyManager(OTHER_ACCOUNT).sign_invite(3, POOL.pool_id, HEADER.node_id, 1_800_003_600)
    invite = attrs.evolve(invite, nonce=42)
    provider = Address(bytes.fromhex(OTHER_ACCOUNT.address[2:]))
    consent = consent_digest(provider, HEADER.node_id)
    layout = invite_digest(
        invite.domain_id, invite.pool_id, invite.node_id, invite.nonce, invite.expiration_s
    )
    return {
        "about": "`signed` is what EIP-191 makes of `digest`: the hash that is signed.",
        "root": {
            "data_uri": f"p2pool:root={format_root(root)}",
            "record": fields(RootRecord, to_value(root)),
            "log_id": f"h'{digests.log_id(POOL, root).hex()}'",
        },
        "consent": {
            "provider": f"h'{provider.hex()}'",
            "node": f"h'{HEADER.node_id.hex()}'",
            "digest": f"h'{consent.hex()}'",
            "signed": f"h'{personal_hash(consent).hex()}'",
            "signature": f"h'{sign_consent(ACCOUNT, provider).hex()}'",
            "signer": ACCOUNT.address,
        },
        "invite": {
            "domain_id": invite.domain_id,
            "pool_id": invite.pool_id,
            "node": f"h'{invite.node_id.hex()}'",
            "nonce": invite.nonce,
            "expiration_s": invite.expiration_s,
            "digest": f"h'{layout.hex()}'",
            "signed": f"h'{personal_hash(layout).hex()}'",
            "signature": f"h'{_personal(OTHER_ACCOUNT, layout).hex()}'",
            "signer": OTHER_ACCOUNT.address,
        },
    }


def _personal(account: Any, digest: bytes) -> bytes:
    from eth_account.messages import encode_defunct

    return bytes(account.sign_message(encode_defunct(primitive=digest)).signature)


GOOD: tuple[canonical.Value, ...] = (
    None, True, 0, 23, 24, 255, 256, 65_536, 2**32, 2**64 - 1, -1, -25, -(2**63),
    b"", b"\0" * 24, "", "ü", [], [[1], [2, 3]], {}, {1: b"x", 2: None},
)  # fmt: skip
BAD = (
    ("a float", "f97e00"), ("a tag", "c249010000000000000000"), ("an indefinite array", "9fff"),
    ("undefined", "f7"), ("an integer that is not shortest", "1800"),
    ("a length that is not shortest", "580100"), ("keys out of order", "a202000100"),
    ("a key twice", "a201000100"), ("a text as a key", "a1616100"),
    ("a negative key", "a12000"), ("a byte that follows", "0000"), ("bytes that lack", "8201"),
    ("an integer below 64 bits", "3bffffffffffffffff"), ("text that is not UTF-8", "62c328"),
    ("nesting that is too deep", "81" * (limits.CBOR_MAX_DEPTH + 1) + "00"),
)  # fmt: skip


def cbor() -> Any:
    """Values with their one encoding, and bytes that are refused."""
    for _, data in BAD:
        try:
            canonical.decode(bytes.fromhex(data))
        except Malformed:
            continue
        raise AssertionError(data)
    good = [
        {"value": _maps(shown(value)), "bytes": f"h'{canonical.encode(value).hex()}'"}
        for value in GOOD
    ]
    lengths = (1, 127, 128, 300)
    return {
        "about": "Canonical CBOR: `good` has one encoding each, `refused` is no message. A map is "
        '{"map": [[key, value], ...]}. `frames`: a body of so many bytes of 0x61 on a stream.',
        "good": good,
        "refused": [{"why": why, "bytes": f"h'{data}'"} for why, data in BAD],
        "frames": [
            {"body_bytes": n, "head": f"h'{encode_frame(b'a' * n)[:-n].hex()}'"} for n in lengths
        ],
    }


def _maps(value: Any) -> Any:
    if isinstance(value, dict):
        return {"map": [[key, shown(item)] for key, item in value.items()]}
    return value


FILES: dict[str, Callable[[], Any]] = {
    "keys.json": keys,
    "cbor.json": cbor,
    "messages.json": messages,
    "entries.json": entries,
    "digests.json": named_digests,
    "certificates.json": certificates,
    "typed_data.json": typed_data,
    "chain.json": chain_texts,
    "validation.json": validation,
}


def text_of(name: str) -> str:
    """A file as it is published."""
    return json.dumps(FILES[name](), indent=1, ensure_ascii=False) + "\n"
