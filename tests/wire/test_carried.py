"""What others signed inside a message has a cost, and is opened on entry, whatever carries it."""

from collections.abc import Iterator
from typing import Annotated, Any, NewType, get_args, get_origin

import attrs
import pytest

from p2pool.codec.cbor.structs import fields_of
from p2pool.model import features
from p2pool.model.access.requests import SignedRequest
from p2pool.model.chain.invite import Invite
from p2pool.model.field_bounds import SealedAppend, SealedHeartbeat, SealedSignature
from p2pool.model.messages.queries import HeartbeatsAnswered, RequestForwarded
from p2pool.model.messages.registry import TYPES, Message
from p2pool.model.messages.task_streams import LogsRead
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.validation.verdict import SignedVerdict
from p2pool.wire.costs import checks_in
from p2pool.wire.enclosures import enclosed_in
from p2pool.wire.signers import requests_in
from tests.codec.samples import example

SEALED = (SealedSignature, SealedHeartbeat)
COSTLY = (SealedAppend, *SEALED, SignedRequest, SignedVerdict, PeerBinding, Invite)
BY_ITSELF = {HeartbeatsAnswered}
"""Whose envelopes are gossip of others: `agent.wire.ingress` takes each as such."""


def carried(cls: type) -> Iterator[Any]:
    """The types of all fields in a record, and of those inside them."""
    for _, hint in fields_of(cls):
        yield from _inside(hint)


def _inside(hint: Any) -> Iterator[Any]:
    yield hint
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if isinstance(bare, NewType):
        return
    for one in get_args(bare):
        yield from _inside(one)
    if attrs.has(bare):
        yield from carried(bare)


LINES = {LogsRead}
"""Bytes that are no envelopes, though as long as one may be."""


@pytest.mark.parametrize("cls", TYPES.values(), ids=lambda cls: cls.__name__)
def test_envelopes_inside_are_opened(cls: type[Message]) -> None:
    """Add the message to `enclosed_in`: the core has no curves, and would believe nothing of it."""
    has = any(hint == sealed for hint in carried(cls) for sealed in SEALED)
    assert bool(enclosed_in(example(cls, features.newest()))) is (
        has and cls not in BY_ITSELF | LINES
    )


@pytest.mark.parametrize("cls", TYPES.values(), ids=lambda cls: cls.__name__)
def test_signers_of_requests_inside_are_found(cls: type[Message]) -> None:
    """Add the message to `requests_in`: a request without its signers has no right to anything."""
    assert bool(requests_in(example(cls))) is (SignedRequest in carried(cls))


@pytest.mark.parametrize("cls", TYPES.values(), ids=lambda cls: cls.__name__)
def test_every_message_that_carries_signatures_has_a_cost(cls: type[Message]) -> None:
    """Add the message to `checks_in`: without a cost anybody has it verified without end."""
    costly = any(hint == one for hint in carried(cls) for one in COSTLY)
    assert bool(checks_in(example(cls, features.newest()))) is (costly and cls not in LINES)


def test_a_request_by_a_delegate_costs_two() -> None:
    """The delegation in it is signed as well."""
    by_delegate: RequestForwarded = example(RequestForwarded)
    assert by_delegate.signed.delegation is not None
    by_itself = attrs.evolve(by_delegate, signed=attrs.evolve(by_delegate.signed, delegation=None))
    assert (checks_in(by_delegate), checks_in(by_itself)) == (2, 1)
