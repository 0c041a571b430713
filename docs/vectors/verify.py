"""Checks all vectors in this folder with cbor2, cryptography and eth-account.

Nothing of p2pool is imported, so this is also the shortest working account of the protocol's bytes:
read it beside docs/PROTOCOL.md. `python verify.py [FOLDER]` prints what it checked, and ends with
an AssertionError at the first difference.
"""

import hashlib
import json
import struct
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


# --- hardware challenges ------------------------------------------------------------------------

WORD, GOLDEN, PRIME = 0xFFFFFFFF, 0x9E3779B1, 2**61 - 1
GROUP_BLOCKS, FINGERPRINT_BYTES = 64, 8


def sha(*parts: bytes) -> bytes:
    """SHA-256 of bytes that follow each other."""
    return hashlib.sha256(b"".join(parts)).digest()


def named(purpose: str, *parts: Any) -> bytes:
    """The digests of a validation."""
    return digest([FORMAT, f"validation {purpose}", *parts])


def mix(word: int) -> int:
    """The mixer of 32-bit words."""
    word = (word ^ word >> 16) * 0x7FEB352D & WORD
    word = (word ^ word >> 15) * 0x846CA68B & WORD
    return word ^ word >> 16


def left_row(seed: bytes, row: int, inner: int) -> list[int]:
    """A row of the matrix that is new in each product."""
    first, second, *_ = struct.unpack(">8I", seed)
    start = mix(row + first & WORD)
    words = [mix((start ^ n * GOLDEN & WORD) + second & WORD) for n in range(inner // 4)]
    return list(struct.unpack(f"{inner}b", struct.pack(f"<{inner // 4}I", *words)))


def right_row(seed: bytes, row: int, columns: int) -> list[int]:
    """A row of the matrix that stays."""
    made = hashlib.shake_128(seed + row.to_bytes(4, "big")).digest(columns)
    return list(struct.unpack(f"{columns}b", made))


def memory_block(seed: bytes, block: int, size: int, repeats: int) -> bytes:
    """A block of memory."""
    lines = [sha(seed, block.to_bytes(8, "big"))]
    while 32 * len(lines) < size:
        line = lines[-1]
        line = sha(line, lines[int.from_bytes(line[:4], "big") % len(lines)])
        for _ in range(repeats - 1):
            line = sha(line)
        lines.append(line)
    return b"".join(lines)


def fingerprint(seed: bytes, block: bytes) -> bytes:
    """The fingerprint of a block in a pass."""
    first, second, *_ = struct.unpack(">8I", seed)
    low = high = 0
    for n, word in enumerate(struct.unpack(f"<{len(block) // 4}I", block)):
        mixed = mix((word + second & WORD) ^ (n * GOLDEN + first & WORD))
        low, high = low + mixed, high + mixed * (2 * n + 1)
    return struct.pack(">2I", low & WORD, high & WORD)


def climb(leaf: bytes, index: int, count: int, path: list[bytes]) -> bytes:
    """The root of a tree; takes from the path what it needs."""
    while count > 1:
        if index ^ 1 < count:
            sibling = path.pop(0)
            leaf = sha(b"\1", sibling, leaf) if index & 1 else sha(b"\1", leaf, sibling)
        index, count = index // 2, (count + 1) // 2
    return leaf


def drawn(draw: bytes, purpose: bytes, device: int, most: int, wanted: int) -> list[int]:
    """Different numbers below `most`, in order."""
    made = hashlib.shake_256(draw + purpose + device.to_bytes(4, "big")).digest(2**16)
    found: set[int] = set()
    for (word,) in struct.iter_unpack(">Q", made):
        if len(found) < min(most, wanted):
            found.add(word % most)
    return sorted(found)


def check_derived(file: Any) -> None:
    """What follows from a seed."""
    seed, block = plain(file["seed"]), plain(file["memory_block"]["bytes"])
    left, right, product = file["left_row"], file["right_row"], file["product_seed"]
    assert left_row(seed, left["row"], 16) == left["entries"]
    assert right_row(seed, right["row"], 16) == right["entries"]
    assert sha(seed, product["product"].to_bytes(4, "big")) == plain(product["seed"])
    made = file["memory_block"]
    assert memory_block(seed, made["block"], len(block), made["repeats"]) == block
    assert fingerprint(seed, block) == plain(file["fingerprint"])
    leaves = [sha(b"\0", plain(one)) for one in file["tree"]["leaves"]]
    assert sha(seed, leaves[0]) == plain(file["next_scan_seed"])
    path = plain(file["tree"]["path_of_2"])
    assert climb(leaves[2], 2, 5, path) == plain(file["tree"]["root"])
    assert path == []


def opened_wrong(transcript: list[Any]) -> list[list[Any]]:
    """Rows that are not in their product, and blocks with another fingerprint."""
    challenge, secret, steps, (rows, blocks), ended = transcript
    assert ended is None
    answers = [step[0][0] for step in steps]
    name, plan = named("challenge", challenge), challenge[9]
    draw = named("draw", secret, named("commitment", answers[-1]))
    products, found = plan[2][0], []
    for number, (*_, (count, height, inner, columns), memory) in enumerate(plan[1]):
        size, block_bytes, repeats, passes = memory
        places = drawn(draw, b"rows", number, products * count * height, plan[2][3])
        shown = [((r[1] - 1) * count + r[2]) * height + r[3] for r in rows if r[0] == number]
        assert shown == places
        x = [
            word % PRIME
            for (word,) in struct.iter_unpack(
                ">Q", hashlib.shake_256(draw + b"vector").digest(8 * columns)
            )
        ]
        stays = named("matrix", name, number)
        image = [inner_product(right_row(stays, n, columns), x) for n in range(inner)]
        for _, step, product, row, entries, path in (r for r in rows if r[0] == number):
            top = climb(climb(sha(b"\0", entries), row, height, path), product, count, path)
            assert top == answers[step][4][number][0][0]
            left = left_row(
                sha(round_seed(name, answers[step], number), product.to_bytes(4, "big")),
                row,
                inner,
            )
            values = struct.unpack(f"<{columns}i", entries)
            if (inner_product(values, x) - inner_product(left, image)) % PRIME:
                found.append(["wrong-product", step, number])
        places = drawn(draw, b"blocks", number, plan[3][0] * passes * size, plan[3][3])
        mine = [b for b in blocks if b[0] == number]
        assert [((b[1] - 1 - products) * passes + b[2]) * size + b[3] for b in mine] == places
        for _, step, scan, block, group, path in mine:
            at, roots = block // GROUP_BLOCKS, answers[step][4][number][0]
            groups = -(-size // GROUP_BLOCKS)
            assert climb(sha(b"\0", group), at, groups, path) == roots[scan]
            seed = round_seed(name, answers[step], number)
            for root in roots[:scan]:
                seed = sha(seed, root)
            made = memory_block(named("memory", name, number), block, block_bytes, repeats)
            at = FINGERPRINT_BYTES * (block % GROUP_BLOCKS)
            if group[at : at + FINGERPRINT_BYTES] != fingerprint(seed, made):
                found.append(["wrong-memory", step, number])
    return found


def inner_product(one: Any, other: Any) -> int:
    """Of two rows of numbers."""
    return sum(a * b for a, b in zip(one, other, strict=True))


def round_seed(challenge: bytes, answer: list[Any], device: int) -> bytes:
    """The seed of the round that a commitment answers."""
    _, step, nonce, previous, _ = answer
    return named("round", challenge, previous, step, nonce, device)


def check_validation(file: Any, keys: Any) -> str:
    """Evidence: who signed it, whether it holds together, and what it shows."""
    check_derived(file["derived"])
    for one in file["evidence"]:
        form, version, (evidence, signature) = decode(plain(one["document"]))
        assert (form, version) == ("p2pool validation", 1)
        assert digest([form, version, evidence]) == plain(one["digest"])
        message = encode_typed_data(full_message=one["typed_data"])
        hashed = keccak(b"\x19" + message.version + message.header + message.body)
        assert hashed == plain(one["typed_digest"])
        assert bytes.fromhex(one["typed_data"]["message"]["evidence"][2:]) == plain(one["digest"])
        signer = Account.recover_message(message, signature=signature)
        transcript, binding, conclusion, faults, _ = evidence
        challenge, secret, steps, _, _ = transcript
        assert signer == one["signer"]
        assert bytes.fromhex(signer[2:]) == challenge[1]
        assert challenge[0] == plain(keys["pool"])
        assert binding[3:5] == challenge[3:5]
        previous = named("challenge", challenge)
        assert previous == plain(one["challenge"])
        assert named("secret", secret) == challenge[7]
        node = Ed25519PublicKey.from_public_bytes(challenge[4])
        for number, ((commitment, by_node), _) in enumerate(steps):
            assert commitment[:2] == [named("challenge", challenge), number]
            assert commitment[3] == previous
            signed = encode([FORMAT, "validation commitment", commitment])
            node.verify(by_node, signed)
            previous = hashlib.sha256(signed).digest()
        assert opened_wrong(transcript) == faults == one["faults"]
        assert conclusion == one["conclusion"] == ("invalid" if faults else "valid")
    return f"what seeds give, and {len(file['evidence'])} documents"


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
        "validation": lambda file: check_validation(file, keys),
    }
    assert set(files) == set(checks), sorted(files)
    for name, check in checks.items():
        print(f"{name}: {check(files[name])}")


if __name__ == "__main__":
    main()
