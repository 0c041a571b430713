"""Declares the messages between agents, and the header that travels with each.

A message is an attrs class whose field order is its wire order, under one line with everything
else:

    @message(30, Channel.QUERY, senders=Senders.GUESTS)
    @attrs.frozen
    class Ping(Message): ...

On the wire it is the CBOR array
    [number, version, node_id, incarnation, sequence, sent_at_ms, fields..., ext]
inside a COSE_Sign1 envelope (`wire.envelope`).

Invariants: a number is never reused; a changed field list is a new version. A message of a later
feature level says so, and is sent from that level on only; whoever does not know a number counts
the message and drops it. The purpose is signed, so a vote is a vote wherever it travels: a renamed
class keeps its purpose. An answer names what it answers, and both carry the number of the question
in `request`: the dispatch drops what nobody asked for. This module imports no message; importing
`p2pool.model.messages` declares them all.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

import attrs

from p2pool.model.features import BASE_LEVEL, FeatureLevel
from p2pool.model.ids import NodeId, PeerKey


class Channel(StrEnum):
    """Where a message travels (docs/design/protocol.md, "Channels")."""

    BEAT = "beat"
    ANNOUNCE = "announce"
    HELLO = "hello"
    RAFT = "raft"
    WORK = "work"
    QUERY = "query"
    LOGS = "logs"
    CHALLENGE = "challenge"


GOSSIP_CHANNELS = frozenset({Channel.BEAT, Channel.ANNOUNCE})
"""Channels on which anybody passes messages on; on the others they come from their sender."""

DEDICATED_CHANNELS = frozenset({Channel.LOGS, Channel.CHALLENGE})
"""Channels whose frames travel on a stream that is opened for one conversation. The agent serves
them without the core."""


class Senders(StrEnum):
    """Who may send a message. From anybody else it changes nothing."""

    ANYBODY = "anybody"
    """Any connected peer, before it is judged."""
    GUESTS = "guests"
    """Peers of any standing except refused."""
    MEMBERS = "members"
    """Members of the pool, and participants in its log."""
    VOTERS = "voters"
    """Voters of the committee in force."""
    CERTIFIERS = "certifiers"
    """Members, and those who were voters before the committee's last change."""
    GOSSIP = "gossip"
    """Members whose peer key is known, through whoever passes it on."""


class Message:
    """Base of every message."""

    __slots__ = ()


@attrs.frozen
class Declaration:
    """A message's properties besides its fields. `purpose`: the purpose of its signature. `since`:
    the feature level that brought it; it is not sent in a pool below that level. `answers`: the
    questions to which it is an answer; unasked it changes nothing."""

    number: int
    channel: Channel
    senders: Senders
    version: int
    purpose: str
    since: FeatureLevel = BASE_LEVEL
    answers: tuple[type[Message], ...] = ()


TYPES: dict[int, type[Message]] = {}
"""The class for each number on the wire."""

DECLARATIONS: dict[type[Message], Declaration] = {}
"""The declaration of each class."""

QUESTIONS: dict[type[Message], type[Message]] = {}
"""The answer to each question."""

M = TypeVar("M", bound=Message)


def message(
    number: int,
    channel: Channel,
    *,
    senders: Senders = Senders.MEMBERS,
    version: int = 1,
    purpose: str = "",
    since: int = BASE_LEVEL,
    answers: tuple[type[Message], ...] = (),
) -> Callable[[type[M]], type[M]]:
    """Declare a class as a message. `purpose`: the class name when it was first signed (empty: its
    name now)."""

    def declare(cls: type[M]) -> type[M]:
        declared = Declaration(
            number=number,
            channel=channel,
            senders=senders,
            version=version,
            purpose=purpose or cls.__name__,
            since=FeatureLevel(since),
            answers=answers,
        )
        made = "__attrs_attrs__" in vars(cls)
        assert made, f"{cls.__name__} is declared before attrs made it"
        assert number not in TYPES, f"{cls.__name__} has the number of {TYPES[number].__name__}"
        assert all(d.purpose != declared.purpose for d in DECLARATIONS.values()), declared
        assert (senders is Senders.GOSSIP) == (channel in GOSSIP_CHANNELS), declared
        for asked in answers:
            assert _numbered(cls), f"{cls.__name__} has no number"
            assert _numbered(asked), f"{asked.__name__} has no number"
            assert asked not in QUESTIONS, f"{asked.__name__} has two answers"
            QUESTIONS[asked] = cls
        TYPES[number], DECLARATIONS[cls] = cls, declared
        return cls

    return declare


def _numbered(cls: type[Message]) -> bool:
    """Whether a message carries the number of a question."""
    return any(field.name == "request" for field in attrs.fields(cls))  # type: ignore[arg-type]


def since_of(cls: type[Message]) -> FeatureLevel:
    """The feature level that a message of this class came with."""
    return DECLARATIONS[cls].since


def channel_of(cls: type[Message]) -> Channel:
    """The channel that a message of this class belongs to."""
    return DECLARATIONS[cls].channel


@attrs.frozen
class Header:
    """What every envelope states about its sender: bound into the signature."""

    node_id: NodeId
    peer_key: PeerKey
    incarnation: int
    sequence: int
    sent_at_ms: int


@attrs.frozen
class Verified:
    """A message whose bytes, form, signature and purpose are valid. `sealed` are those bytes.

    The core decides separately whether the sender belongs, and whether the message is new.
    """

    header: Header
    channel: Channel
    message: Message
    sealed: bytes
