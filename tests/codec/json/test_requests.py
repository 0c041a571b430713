"""The JSON form carries every signed thing there and back, and refuses all else by name."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec.json import requests
from p2pool.codec.json.depth import too_deep
from p2pool.codec.spec.spec import parse_spec
from p2pool.model.access.grants import LogGrant, SignedGrant
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import BadSpec, Malformed
from p2pool.model.features import BASE_LEVEL
from p2pool.model.ids import AllocationId, NodeId, TaskId
from p2pool.model.ports.agent import LogOptions
from tests.codec.json.signed_things import ADDRESS, BIG, DELEGATIONS, NUMBER, SIGNATURE, TEXT

REQUESTS = st.builds(
    SignedRequest,
    st.builds(
        TaskRequest,
        st.sampled_from(Action),
        BIG,
        TEXT,
        TEXT,
        st.binary(min_size=32, max_size=32),
        NUMBER,
        NUMBER,
    ),
    SIGNATURE,
    DELEGATIONS,
)
GRANTS = st.builds(
    SignedGrant, st.builds(LogGrant, BIG, TEXT, NUMBER, NUMBER), SIGNATURE, DELEGATIONS
)
INVITES = st.builds(Invite, BIG, BIG, ADDRESS.map(NodeId), BIG, NUMBER, SIGNATURE)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def _sent(value: Any) -> Any:
    return requests.load(json.dumps(value).encode())


@given(REQUESTS)
def test_a_request_comes_back_as_it_was(signed: SignedRequest) -> None:
    """Through bytes, delegation and all."""
    assert requests.read_request(_sent(requests.request_json(signed))) == signed


@given(GRANTS, st.booleans(), st.integers(-1, 1000), NUMBER)
def test_a_log_request_comes_back_as_it_was(
    signed: SignedGrant, follow: bool, tail: int, since: int
) -> None:
    """The grant and the options."""
    options = LogOptions(follow, tail, since)
    assert requests.read_logs(_sent(requests.logs_json(signed, options))) == (signed, options)


@given(INVITES)
def test_an_invite_comes_back_as_it_was(invite: Invite) -> None:
    """With nonces that no floating-point number holds."""
    assert requests.read_invite(_sent(requests.invite_json(invite))) == invite


@given(JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    """Never another exception, and always with what is wrong."""
    for read in (requests.read_request, requests.read_logs, requests.read_invite):
        with pytest.raises(Malformed) as caught:
            read(value)
        assert caught.value.problems


@given(st.sampled_from(["request", "signature", "delegation"]), JSON)
def test_a_part_that_is_replaced_is_read_or_refused(key: str, value: Any) -> None:
    """A request with one part of any shape."""
    request = TaskRequest(
        action=Action.STOP,
        pool_id=1,
        target="t",
        spec_json="",
        request_id=b"r" * 32,
        not_before_s=1,
        not_after_s=2,
    )
    body = requests.request_json(SignedRequest(request, b"s")) | {key: value}
    with suppress(Malformed):
        assert isinstance(requests.read_request(body), SignedRequest)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    """Also when it is nested without end."""
    with pytest.raises(Malformed):
        requests.load(body)


def test_depth_is_found_without_recursion() -> None:
    """Brackets in strings do not count, also after escaped quotes."""
    assert not too_deep("[" * 32 + "]" * 32)
    assert too_deep("[" * 33 + "]" * 33)
    assert too_deep('{"a":' * 33)
    assert not too_deep(json.dumps(["[" * 100, '"' + "{" * 100, "\\" + "[" * 100]))
    assert not too_deep("[" + "[]," * 1000 + "[]]")
    with pytest.raises(BadSpec, match="too deeply"):
        parse_spec("[" * 60_000, BASE_LEVEL)


def test_names_of_allocations() -> None:
    """As they are written, and in no other way."""
    wanted = AllocationId(TaskId(bytes(range(16))), 12)
    assert requests.read_allocation(str(wanted)) == wanted
    for text in ("", "00.1", "00" * 16, "00" * 16 + ".01", "00" * 16 + ".-1", "zz" * 16 + ".1"):
        assert requests.read_allocation(text) is None
