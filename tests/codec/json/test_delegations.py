"""A delegation file carries all that was signed, and each fault of one is named."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec.json.delegations import (
    delegation_file_json,
    name_prefix_rule,
    read_delegation_file,
)
from p2pool.codec.json.envelope import enveloped
from p2pool.codec.spec.rules import name_rule
from p2pool.model import limits
from p2pool.model.access.delegations import (
    Delegation,
    DelegationFile,
    Quota,
    Scope,
    SignedDelegation,
)
from p2pool.model.errors import Malformed
from p2pool.model.ids import Address, PoolRef
from tests.codec.json.signed_things import ADDRESS, BIG, NUMBER, QUOTAS, SIGNATURE

POOL = PoolRef(31337, Address(b"c" * 20), 7)
FILE = DelegationFile(
    POOL,
    Address(b"g" * 20),
    SignedDelegation(
        Delegation(
            pool_id=7,
            delegate=Address(b"d" * 20),
            scope=Scope.SUBMIT,
            not_before_s=1,
            not_after_s=2,
            quota=Quota(max_gpus=4, name_prefix="team-a-"),
        ),
        b"s" * 65,
    ),
)


@st.composite
def files(draw: st.DrawFn) -> DelegationFile:
    """Any delegation file."""
    pool = PoolRef(draw(BIG), Address(draw(ADDRESS)), draw(BIG))
    given = Delegation(
        pool_id=pool.pool_id,
        delegate=Address(draw(ADDRESS)),
        scope=draw(st.sampled_from(Scope)),
        not_before_s=draw(NUMBER),
        not_after_s=draw(NUMBER),
        quota=draw(st.none() | QUOTAS),
    )
    return DelegationFile(pool, Address(draw(ADDRESS)), SignedDelegation(given, draw(SIGNATURE)))


@given(files())
def test_a_file_carries_all_there_and_back(file: DelegationFile) -> None:
    """Whatever a file holds is read as it was written, plain or in the envelope of a command."""
    plain = delegation_file_json(file)
    assert read_delegation_file(json.dumps(plain, indent=2).encode()) == file
    wrapped = enveloped("delegation", plain, ())
    assert read_delegation_file(json.dumps(wrapped).encode()) == file


def _changed(*path: str, to: Any) -> bytes:
    plain = delegation_file_json(FILE)
    place = plain
    for key in path[:-1]:
        place = place[key]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return json.dumps(plain).encode()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b" \n", "is empty"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[1]", "is not an object"),
        (b"[" * 10_000, "nested too deeply"),
        (b'{"pool": 1, "pool": 2}', "the key 'pool' twice"),
        (b" " * limits.DELEGATION_FILE_MAX_BYTES + b"{}", "bytes at most"),
        (_changed("pool", to=None), "file.pool is missing"),
        (_changed("grantor", to=None), "file.grantor is missing"),
        (_changed("delegation", to=None), "file.delegation is missing"),
        (_changed("signature", to="0x"), "file.signature is not a signature in hex"),
        (_changed("pool", "pool_id", to=8), "is not that of its pool, 8"),
        (_changed("delegation", "scope", to="sumbit"), "did you mean 'submit'?"),
        (_changed("delegation", "quota", to={}), "limits nothing"),
        (_changed("delegation", "quota", "max_gpu", to=4), "did you mean 'max_gpus'?"),
        (_changed("delegation", "quota", "max_gpus", to=-1), "max_gpus is -1"),
        (_changed("delegation", "quota", "max_replicas", to=0), "max_replicas is 0"),
        (_changed("delegation", "quota", "max_priority", to=101), "max_priority is 101"),
        (_changed("delegation", "quota", "name_prefix", to="A "), "begins no name"),
    ],
)
def test_each_fault_of_a_file_is_named(body: bytes, words: str) -> None:
    """A file that is not good says what is wrong with it, and what to do."""
    with pytest.raises(Malformed, match="delegation file") as caught:
        read_delegation_file(body)
    assert words in caught.value.message
    assert "access grant" in caught.value.hint


@given(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True))
def test_a_prefix_begins_a_name(text: str) -> None:
    """Each prefix that is taken begins a name, so that its delegate can submit something."""
    assert bool(name_prefix_rule(text)) == (len(text) > 62)
    if not name_prefix_rule(text):
        assert name_rule(text + "x") == ""
