"""Every message, entry body, digest and envelope has the bytes that it had before.

A difference means that agents of two versions no longer understand each other: give the message a
new version. After a deliberate change, `P2POOL_REWRITE_GOLDEN=1 pytest tests/wire/test_golden.py`
writes the file anew; its diff is what changed on the wire.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from p2pool.codec import digests, entries, payloads
from p2pool.codec.cbor.structs import encode_struct, fields_since
from p2pool.model import limits
from p2pool.model.access import requests
from p2pool.model.chain import root_record
from p2pool.model.features import BASE_LEVEL
from p2pool.model.log import raft
from p2pool.model.machine.hardware import Hardware
from p2pool.model.messages.registry import TYPES
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.tasks import secrets
from p2pool.wire import envelope, typed_data
from p2pool.wire.binding import make_binding
from tests.codec.samples import example
from tests.wire.samples import ACCOUNT, HEADER, KEY, NOW_S, POOL

FILE = Path(__file__).parent.parent / "golden" / "messages.json"
REQUEST = requests.TaskRequest(
    action=requests.Action.SUBMIT,
    pool_id=1,
    target="",
    spec_json='{"image":"busybox","name":"a"}',
    request_id=b"r" * 32,
    not_before_s=NOW_S,
    not_after_s=NOW_S + 600,
)


def _current() -> dict[str, dict[str, Any]]:
    """What this version makes of the fixed examples."""
    sealed: dict[str, Any] = {}
    for number, cls in TYPES.items():
        message = example(cls)
        sealed[cls.__name__] = {
            "type": number,
            "payload": payloads.encode_payload(HEADER, message).hex(),
            "sealed": envelope.seal(message, HEADER, POOL, KEY).hex(),
        }
    for number, cls in TYPES.items():
        for level in sorted({since for _, since in fields_since(cls)} - {BASE_LEVEL}):
            message = example(cls, level)
            sealed[f"{cls.__name__} {level}"] = {
                "type": number,
                "level": level,
                "payload": payloads.encode_payload(HEADER, message).hex(),
                "sealed": envelope.seal(message, HEADER, POOL, KEY).hex(),
            }
    records = [raft.Entry, raft.HardState, raft.Snapshot, requests.SignedRequest, PeerBinding]
    records += [secrets.SecretBlob, secrets.SecretContents, secrets.KeyStatement]
    bodies = {
        cls.__name__: {"kind": int(kind), "body": encode_struct(example(cls)).hex()}
        for kind, cls in entries.RECORDS.items()
    }
    named = {
        "log_id": digests.log_id(POOL, example(root_record.RootRecord)),
        "configuration_hash": digests.configuration_hash(example(raft.Configuration)),
        "hardware_digest": digests.hardware_digest(example(Hardware)),
        "task_id": digests.task_id(POOL, REQUEST),
        "request_signature": typed_data.sign_request(POOL, ACCOUNT, REQUEST).signature,
        "binding": encode_struct(make_binding(POOL, ACCOUNT, KEY, NOW_S, 3600)),
    }
    return {
        "messages": sealed,
        "bodies": bodies,
        "records": {cls.__name__: encode_struct(example(cls)).hex() for cls in records},
        "formats": {"Snapshot": entries.encode_snapshot(example(raft.Snapshot)).hex()},
        "digests": {name: value.hex() for name, value in named.items()},
    }


if os.environ.get("P2POOL_REWRITE_GOLDEN") == "1":
    FILE.write_text(json.dumps(_current(), indent=1) + "\n")

GOLDEN: dict[str, dict[str, Any]] = json.loads(FILE.read_text())
CURRENT = _current()


def test_nothing_was_added_or_removed_unseen() -> None:
    """Each type, kind and record has its golden bytes, and none is left over."""
    assert {part: set(names) for part, names in GOLDEN.items()} == {
        part: set(names) for part, names in CURRENT.items()
    }


@pytest.mark.parametrize(
    ("part", "name"), [(part, name) for part in GOLDEN for name in GOLDEN[part]]
)
def test_bytes_are_what_they_were(part: str, name: str) -> None:
    """The bytes of this version are the golden ones."""
    assert CURRENT[part].get(name) == GOLDEN[part][name]


@pytest.mark.parametrize("name", GOLDEN["messages"])
def test_golden_bytes_are_understood(name: str) -> None:
    """The golden envelope opens to the example."""
    golden = GOLDEN["messages"][name]
    data = bytes.fromhex(golden["sealed"])
    found = envelope.open_sealed(data, POOL, max_bytes=limits.STREAM_FRAME_MAX_BYTES)
    assert found.message == example(TYPES[golden["type"]], golden.get("level", BASE_LEVEL))
    assert found.header == HEADER
