"""Implementations of COSE that are not ours verify our envelopes, and we open theirs.

`cwt` pins an older cbor2 than ours, so it lives in a virtual environment of its own that is made
once under `.cache/`. Without a package registry the test is skipped, in CI it fails; the check by
hand below needs nothing and always runs: Sig_structure written byte by byte from RFC 9052, and
OpenSSL's Ed25519 (through `cryptography`) instead of libsodium's.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from p2pool.model import limits
from p2pool.model.messages.queries import Ping
from p2pool.wire import envelope
from tests.codec.samples import FIRST_NAMES
from tests.wire.samples import HEADER, KEY, NODE_ID, POOL

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENT = "cwt==3.3.0"
INSTALL_DEADLINE_S = 240
RUN_DEADLINE_S = 60
GOLDEN = json.loads((ROOT / "tests/golden/messages.json").read_text())["messages"]
COSE_SIGN1_TAG = b"\xd2"

SCRIPT = """
import json, sys
from cwt import COSE, COSEKey
from cwt.exceptions import VerifyError
task = json.load(sys.stdin)
hexed = bytes.fromhex
public = COSEKey.new({1: 1, 3: -8, -1: 6, -2: hexed(task["key"]), 2: hexed(task["key"])})
private = COSEKey.new(
    {1: 1, 3: -8, -1: 6, -2: hexed(task["key"]), -4: hexed(task["seed"]), 2: hexed(task["key"])}
)
cose = COSE.new()
out = {"payloads": [], "refused": 0}
for one in task["envelopes"]:
    aad = hexed(one["aad"])
    payload = cose.decode(hexed(one["data"]), public, external_aad=aad)
    out["payloads"].append(payload.hex())
    try:
        cose.decode(hexed(one["data"]), public, external_aad=aad + b"x")
    except VerifyError:
        out["refused"] += 1
out["sealed"] = cose.encode_and_sign(
    hexed(task["payload"]), private, protected={1: -8, 4: hexed(task["key"])},
    external_aad=hexed(task["aad"]),
).hex()
json.dump(out, sys.stdout)
"""


def _head(major: int, length: int) -> bytes:
    """CBOR head by hand (RFC 8949, 3)."""
    for info, width in ((24, 1), (25, 2), (26, 4)):
        if length < 24:
            return bytes([major << 5 | length])
        if length < 1 << 8 * width:
            return bytes([major << 5 | info]) + length.to_bytes(width, "big")
    raise AssertionError(length)


def _bstr(data: bytes) -> bytes:
    return _head(2, len(data)) + data


def _tstr(text: str) -> bytes:
    return _head(3, len(text)) + text.encode()


def _external(purpose: str) -> bytes:
    """What design section 5 says the external data are, by hand."""
    pool = _head(0, POOL.chain_id) + _bstr(POOL.contract) + _head(0, POOL.pool_id)
    return _head(4, 6) + _tstr("p2pool/1") + pool + _bstr(NODE_ID) + _tstr(purpose)


def _purpose(name: str) -> str:
    """A golden message is named by its class, and its level where that is not the first."""
    kind = name.partition(" ")[0]
    return FIRST_NAMES.get(kind, kind)


@pytest.mark.parametrize("name", GOLDEN)
def test_by_hand(name: str) -> None:
    """OpenSSL verifies each golden envelope over a Sig_structure built from the RFC alone."""
    payload = bytes.fromhex(GOLDEN[name]["payload"])
    protected = bytes.fromhex("a20127045820") + HEADER.peer_key
    sealed = bytes.fromhex(GOLDEN[name]["sealed"])
    signature = sealed[-64:]
    assert sealed == _head(4, 4) + _bstr(protected) + b"\xa0" + _bstr(payload) + _bstr(signature)
    signed = _head(4, 4) + _tstr("Signature1") + _bstr(protected)
    signed += _bstr(_external(_purpose(name))) + _bstr(payload)
    key = Ed25519PublicKey.from_public_bytes(HEADER.peer_key)
    key.verify(signature, signed)
    with pytest.raises(InvalidSignature):
        key.verify(signature, signed + b"\0")


def _environment() -> Path:
    """Python of a virtual environment with `cwt`, made once; skips where there is no registry."""
    name = hashlib.sha256(f"{REQUIREMENT} {sys.version}".encode()).hexdigest()[:12]
    home = ROOT / ".cache" / f"cwt-{name}"
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        try:
            run = {"check": True, "capture_output": True, "timeout": INSTALL_DEADLINE_S}
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], **run)  # type: ignore[call-overload]
            subprocess.run([str(python), "-m", "pip", "install", "-q", REQUIREMENT], **run)  # type: ignore[call-overload]
        except (subprocess.SubprocessError, OSError) as error:
            detail = getattr(error, "stderr", b"") or str(error).encode()
            reason = f"{REQUIREMENT} cannot be installed: {detail.decode()[-300:]}"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        (home / "ready").touch()
    return python


def test_cwt_verifies_ours_and_we_open_its() -> None:
    """A COSE library takes each golden envelope and refuses it under other external data; we open
    what it sealed."""
    python = _environment()
    ping = GOLDEN["Ping"]
    task: dict[str, Any] = {
        "key": HEADER.peer_key.hex(),
        "seed": bytes(KEY).hex(),
        "payload": ping["payload"],
        "aad": _external("Ping").hex(),
        "envelopes": [
            {
                "data": (COSE_SIGN1_TAG + bytes.fromhex(golden["sealed"])).hex(),
                "aad": _external(_purpose(name)).hex(),
            }
            for name, golden in GOLDEN.items()
        ],
    }
    done = subprocess.run(
        [str(python), "-I", "-c", SCRIPT],
        input=json.dumps(task).encode(),
        capture_output=True,
        timeout=RUN_DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    out = json.loads(done.stdout)
    assert out["payloads"] == [golden["payload"] for golden in GOLDEN.values()]
    assert out["refused"] == len(GOLDEN)
    theirs = bytes.fromhex(out["sealed"])
    assert theirs[:1] == COSE_SIGN1_TAG
    found = envelope.open_sealed(theirs[1:], POOL, max_bytes=limits.STREAM_FRAME_MAX_BYTES)
    assert isinstance(found.message, Ping)
    assert found.header == HEADER
