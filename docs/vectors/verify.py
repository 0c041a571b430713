"""Checks all vectors in this folder with cbor2, cryptography and eth-account.

Nothing of p2pool is imported, so this is also the shortest working account of the protocol's bytes:
read it beside docs/PROTOCOL.md. `python verify.py [FOLDER]` prints what it checked, and ends with
an AssertionError at the first difference.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from eth_utils import keccak

DEPTH_MAX = 12
ENVELOPE_PARTS = 4
HEADER_FIELDS = 6
FORMAT = "p2pool/1"
EDDSA = -8


class Refused(Exception):
    """Bytes or signatures that are not good."""


def plain(value: Any) -> Any:
    """A value of the files as CBOR has it: records are arrays, `h'..'` are bytes."""
    if isinstance(value, dict):
        if set(value) == {"map"}:
            return {key: plain(item) for key, item in value["map"]}
        return [plain(item) for item in value.values()]
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str) and value.startswith("h'"):
        return bytes.fromhex(value[2:-1])
    return value


# --- canonical CBOR -----------------------------------------------------------------------------


def encode(value: Any) -> bytes:
    """The one encoding of a value."""
    return cbor2.dumps(value, canonical=True)


def decode(data: bytes) -> Any:
    """The value of canonical bytes. Refused: any others."""
    try:
        value = cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError, TypeError) as error:
        raise Refused(f"not CBOR: {error}") from error
    check_value(value, 0)
    if encode(value) != data:
        raise Refused("not canonical")
    return value


def check_value(value: Any, depth: int) -> None:
    """Refuse what the protocol has no use for."""
    if depth > DEPTH_MAX:
        raise Refused("nested too deeply")
    if value is None or type(value) in (bool, bytes, str):
        return
    if type(value) is int:
        if not -(2**63) <= value < 2**64:
            raise Refused("not an integer of 64 bits")
    elif type(value) is list:
        for item in value:
            check_value(item, depth + 1)
    elif type(value) is dict:
        for key, item in value.items():
            if type(key) is not int or not 0 <= key < 2**64:
                raise Refused("a key that is not an unsigned integer")
            check_value(item, depth + 1)
    else:
        raise Refused(f"a {type(value).__name__}")


def check_cbor(file: Any) -> str:
    """Values have one encoding, all else is refused; frames have their lengths in front."""
    for one in file["good"]:
        assert encode(plain(one["value"])) == plain(one["bytes"]), one
        assert decode(plain(one["bytes"])) == plain(one["value"]), one
    for one in file["refused"]:
        try:
            decode(plain(one["bytes"]))
        except Refused:
            continue
        raise AssertionError(one)
    for one in file["frames"]:
        length, head = one["body_bytes"], []
        while length >= 0x80:
            head.append(length & 0x7F | 0x80)
            length >>= 7
        assert bytes([*head, length]) == plain(one["head"]), one
    return f"{len(file['good'])} values, {len(file['refused'])} refusals"


# --- envelopes ----------------------------------------------------------------------------------


def to_be_signed(keys: Any, protected: bytes, payload: bytes, node: bytes, purpose: str) -> bytes:
    """The Sig_structure of RFC 9052, with the pool, the node and the purpose as external data."""
    pool = plain(keys["pool"])
    external = encode([FORMAT, *pool, node, purpose])
    return encode(["Signature1", protected, external, payload])


def seal(keys: Any, payload: bytes, node: bytes, purpose: str, seed: bytes) -> bytes:
    """The envelope of a payload."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    protected = encode({1: EDDSA, 4: key.public_key().public_bytes_raw()})
    signature = key.sign(to_be_signed(keys, protected, payload, node, purpose))
    return encode([protected, {}, payload, signature])


def unseal(keys: Any, data: bytes, purpose: str) -> tuple[bytes, list[Any]]:
    """Who signed an envelope for a purpose, and its payload. Refused: it is no good."""
    parts = decode(data)
    if type(parts) is not list or len(parts) != ENVELOPE_PARTS or parts[1] != {}:
        raise Refused("not an envelope")
    protected, _, payload, signature = parts
    header = decode(protected)
    if type(header) is not dict or set(header) != {1, 4} or header[1] != EDDSA:
        raise Refused("not a header of ours")
    values = decode(payload)
    signed = to_be_signed(keys, protected, payload, values[2], purpose)
    try:
        Ed25519PublicKey.from_public_bytes(header[4]).verify(signature, signed)
    except InvalidSignature as error:
        raise Refused("the signature does not verify") from error
    return header[4], values


def check_messages(file: Any, keys: Any) -> str:
    """Payloads and envelopes can be made from what is said of them."""
    header = plain(keys["header"])
    seed, peer_key, _ = plain(keys["peer"])
    for one in file["messages"]:
        payload = encode([one["number"], one["version"], *header, *plain(one["fields"]), {}])
        assert payload == plain(one["payload"]), one["name"]
        made = seal(keys, payload, header[0], one["purpose"], seed)
        assert made == plain(one["envelope"]), one["name"]
        signer, values = unseal(keys, made, one["purpose"])
        assert signer == peer_key
        assert values[0] == one["number"]
        try:
            unseal(keys, made, "another purpose")
        except Refused:
            continue
        raise AssertionError(one["name"])
    return f"{len(file['messages'])} messages"


def check_entries(file: Any) -> str:
    """Bodies and records are arrays of their fields."""
    for one in file["entries"]:
        assert encode(plain(one["fields"])) == plain(one["body"]), one["name"]
    for one in file["records"]:
        assert encode(plain(one["fields"])) == plain(one["bytes"]), one["name"]
    return f"{len(file['entries'])} entries, {len(file['records'])} records"


# --- digests ------------------------------------------------------------------------------------


def digest(value: Any) -> bytes:
    """SHA-256 of a value's one encoding."""
    return hashlib.sha256(encode(value)).digest()


def check_digests(file: Any) -> str:
    """Each digest is over the array beside it."""
    for one in file["digests"]:
        expected = plain(one["digest"])
        assert digest(plain(one["over"]))[: len(expected)] == expected, one["name"]
    return f"{len(file['digests'])} digests"


def committee_hash(voters: list[Any]) -> bytes:
    """Names a committee: its voters, without learners."""
    return digest([FORMAT, "configuration", [voters, []]])


# --- certificates -------------------------------------------------------------------------------


def signers(keys: Any, sealed: list[bytes], purpose: str, voters: list[Any], at: int) -> list[Any]:
    """The payloads of envelopes that different voters signed. `at`: where their voter stands."""
    found: dict[bytes, Any] = {}
    for data in sealed:
        peer_key, values = unseal(keys, data, purpose)
        voter = values[HEADER_FIELDS + at]
        if voter not in voters or [values[2], peer_key] != voter[:2]:
            raise Refused("not signed by a voter of that committee")
        if peer_key in found:
            raise Refused("one voter signed it twice")
        found[peer_key] = values[HEADER_FIELDS:-1]
    if len(found) < len(voters) // 2 + 1:
        raise Refused("not a quorum")
    return list(found.values())


def leader_of(keys: Any, sealed: list[bytes], voters: list[Any], log_id: bytes) -> list[Any]:
    """The leader that a quorum confirmed. Refused: none."""
    words = signers(keys, sealed, "CertificateSigned", voters, 3)
    # All fields but the voter are the same.
    if any(word[:3] + word[4:] != words[0][:3] + words[0][4:] for word in words):
        raise Refused("they did not sign the same")
    if words[0][0] != log_id or words[0][4] != committee_hash(voters):
        raise Refused("of another log or committee")
    leader: list[Any] = words[0][2]
    return leader


def check_certificates(file: Any, keys: Any) -> str:
    """From the root record along the chain of committees to today's leader."""
    root = plain(file["root_record"])
    log_id = digest([FORMAT, "log", plain(keys["pool"]), root])
    assert log_id == plain(file["log_id"])
    _, base, links, dropped = plain(file["chain"])
    assert (base, dropped) == ([root[1:4]], 0)
    voters, last = base, 0
    hashes = plain(file["committee_hashes"])
    assert committee_hash(voters) == hashes[0]
    for number, (index, term, _, after, sealed, _) in enumerate(links, start=1):
        assert index > last, "changes are in the order of the log"
        wanted = [log_id, index, term, committee_hash(voters), committee_hash(after)]
        for word in signers(keys, sealed, "ConfigurationSigned", voters, 5):
            assert word[:5] == wanted
        voters, last = after, index
        assert committee_hash(voters) == hashes[number]
    leader = leader_of(keys, plain(file["certificate"]), voters, log_id)
    assert leader == plain(file["leader"])
    for vote in signers(keys, plain(file["votes"]), "VoteAnswered", voters, 3):
        assert vote[2] == leader
        assert vote[7:9] == [False, True], "granted, and no pre-vote"
    for one in file["no_certificates"]:
        try:
            leader_of(keys, plain(one["certificate"]), voters, log_id)
        except Refused:
            continue
        raise AssertionError(one["why"])
    return f"{len(links)} changes of the committee and a leader"


# --- accounts -----------------------------------------------------------------------------------


def check_typed_data(file: Any, keys: Any) -> str:
    """Digests are EIP-712's, and signatures those of the node's account."""
    key = plain(keys["node"]["private_key"])
    for one in file["typed_data"]:
        message = encode_typed_data(full_message=one["typed_data"])
        hashed = keccak(b"\x19" + message.version + message.header + message.body)
        assert hashed == plain(one["digest"]), one["name"]
        signature = plain(one["signature"])
        assert Account.sign_message(message, key).signature == signature, one["name"]
        assert Account.recover_message(message, signature=signature) == one["signer"]
        if one["name"] == "PeerBinding":
            binding = decode(plain(file["binding"]["bytes"]))
            assert binding[7] == signature
            Ed25519PublicKey.from_public_bytes(binding[4]).verify(binding[8], hashed)
    return f"{len(file['typed_data'])} types of typed data"


def check_chain(file: Any, keys: Any) -> str:
    """The root record names the log; consent and invite are signed as the contracts want it."""
    root = file["root"]
    epoch, node, _, store = root["data_uri"].removeprefix("p2pool:root=").split("/")
    record = plain(root["record"])
    assert [int(epoch), bytes.fromhex(node), bytes.fromhex(store)] == [*record[:2], record[3]]
    assert digest([FORMAT, "log", plain(keys["pool"]), record]) == plain(root["log_id"])
    consent, invite = file["consent"], file["invite"]
    assert keccak(plain(consent["provider"]) + plain(consent["node"])) == plain(consent["digest"])
    domain, pool, node_id, nonce, expiration = (
        plain(invite[name]) for name in ("domain_id", "pool_id", "node", "nonce", "expiration_s")
    )
    words = (domain, pool), (nonce, expiration)
    before, after = (b"".join(n.to_bytes(32, "big") for n in pair) for pair in words)
    assert keccak(before + node_id + after) == plain(invite["digest"])
    for one in (consent, invite):
        message = encode_defunct(primitive=plain(one["digest"]))
        hashed = keccak(b"\x19" + message.version + message.header + message.body)
        assert hashed == plain(one["signed"])
        signer = Account.recover_message(message, signature=plain(one["signature"]))
        assert signer == one["signer"]
    return "a root record, a consent and an invite"


def main() -> None:
    """Check every file."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    files = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in folder.glob("*.json")}
    keys = files.pop("keys")
    checks = {
        "cbor": lambda file: check_cbor(file),
        "messages": lambda file: check_messages(file, keys),
        "entries": lambda file: check_entries(file),
        "digests": lambda file: check_digests(file),
        "certificates": lambda file: check_certificates(file, keys),
        "typed_data": lambda file: check_typed_data(file, keys),
        "chain": lambda file: check_chain(file, keys),
    }
    assert set(files) == set(checks), sorted(files)
    for name, check in checks.items():
        print(f"{name}: {check(files[name])}")


if __name__ == "__main__":
    main()
