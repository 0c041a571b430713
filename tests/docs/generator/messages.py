"""The tables of `docs/PROTOCOL.md` on messages, log entries and the records inside them."""

from enum import Enum

from p2pool.agent.agent import topic
from p2pool.codec.cbor.structs import fields_of
from p2pool.codec.entries import RECORDS
from p2pool.core.fsm.permissions import RULES
from p2pool.drivers.net.events import PERMITTED
from p2pool.drivers.net.peer_link import PROTOCOLS
from p2pool.model.access.delegations import SignedDelegation
from p2pool.model.access.requests import Action
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.features import BASE_LEVEL
from p2pool.model.ids import Address, PoolRef
from p2pool.model.log.raft import Entry, Snapshot
from p2pool.model.messages.registry import (
    DECLARATIONS,
    DEDICATED_CHANNELS,
    TYPES,
    Channel,
    Message,
    Senders,
    since_of,
)
from p2pool.model.settings import SETTINGS
from p2pool.model.timing import TIMINGS
from p2pool.wire.enclosures import enclosed_in
from p2pool.wire.envelope import max_bytes
from p2pool.wire.replay import CLOCK_CHECKED, WIDTHS
from tests.codec.samples import example
from tests.docs.generator.forms import anchor, enumeration, nested, record
from tests.docs.generator.markdown import table

BESIDE = (Entry, Snapshot, SignedDelegation, RootRecord, PoolRef)
"""Records that travel as bytes inside another one, or that digests are of."""


def channels() -> str:
    """Where each channel runs, and what is checked on it."""
    rows = []
    for channel in Channel:
        width = WIDTHS.get(channel)
        replay = f"window of {width}" if width else "ascending"
        where = PROTOCOLS.get(channel) or _topic(channel)
        rows.append(
            (
                f"`{channel.value}`",
                f"`{where}`",
                ", ".join(s.value for s in PERMITTED if channel in PERMITTED[s]) or "anybody",
                max_bytes(channel),
                "not checked" if channel in DEDICATED_CHANNELS else replay,
                "yes" if channel in CLOCK_CHECKED else "no",
            )
        )
    head = ("channel", "protocol or topic", "open to", "envelope, bytes", "sequence", "clock")
    return table(head, rows)


def _topic(channel: Channel) -> str:
    """A topic with words in place of a pool's numbers."""
    made = topic(PoolRef(271828, Address(b"\xcc" * 20), 314159), channel)
    named = {"271828": "<chain id>", "cc" * 20: "<contract>", "314159": "<pool id>"}
    for number, name in named.items():
        made = made.replace(number, name)
    return made


def senders() -> str:
    """Who may send what."""
    from tests.docs.generator.sources import strings_after

    said = strings_after(Senders)
    return table(("senders", "meaning"), [(f"`{s.value}`", said[s.name]) for s in Senders])


def message_list() -> str:
    """All messages, one a line."""
    rows = []
    for number, cls in sorted(TYPES.items()):
        declared = DECLARATIONS[cls]
        rows.append(
            (
                number,
                f"[{cls.__name__}](#{anchor(f'{number} {cls.__name__}')})",
                declared.channel.value,
                declared.senders.value,
                declared.version,
                "" if declared.purpose == cls.__name__ else f"`{declared.purpose}`",
                _since(cls),
            )
        )
    head = ("", "message", "channel", "senders", "version", "purpose, if another", "since")
    return table(head, rows)


def _since(cls: type[Message]) -> str:
    level = since_of(cls)
    return "" if level == BASE_LEVEL else str(level)


def messages() -> str:
    """Each message with its fields."""
    parts = []
    for number, cls in sorted(TYPES.items()):
        sealed = _sealed_fields(cls)
        note = f"\nSealed messages inside: {', '.join(sealed)}.\n" if sealed else ""
        parts.append(f"#### {number} {cls.__name__}\n\n{record(cls)}{note}")
    return "\n".join(parts)


def _sealed_fields(cls: type[Message]) -> list[str]:
    """The fields of a message that hold envelopes."""
    import attrs

    whole = example(cls)
    found = []
    for name, _ in fields_of(cls):
        value = getattr(whole, name)
        if isinstance(value, bytes):
            without = attrs.evolve(whole, **{name: b"another"})
        elif isinstance(value, tuple):
            without = attrs.evolve(whole, **{name: ()})
        elif attrs.has(type(value)) and any(f.name == "links" for f in attrs.fields(type(value))):
            without = attrs.evolve(whole, **{name: attrs.evolve(value, links=())})
        else:
            continue
        if enclosed_in(without) != enclosed_in(whole):
            found.append(f"`{name}`")
    return found


def entry_list() -> str:
    """All kinds of log entries, one a line."""
    rows = [
        (int(kind), kind.name, f"[{cls.__name__}](#{anchor(cls.__name__)})")
        for kind, cls in sorted(RECORDS.items())
    ]
    return table(("kind", "name", "body"), rows)


def entries() -> str:
    """Each kind's record."""
    shown = (cls for _, cls in sorted(RECORDS.items()))
    return "\n".join(f"#### {cls.__name__}\n\n{record(cls)}" for cls in shown)


def records() -> str:
    """Every record and enumeration inside messages and entries."""
    told = [*TYPES.values(), *RECORDS.values()]
    inside = nested([*told, *BESIDE])
    shown = {cls.__name__: cls for cls in [*inside, *BESIDE] if cls not in told}
    parts = []
    for name, cls in sorted(shown.items()):
        text = enumeration(cls) if issubclass(cls, Enum) else record(cls)
        parts.append(f"#### {name}\n\n{text}")
    return "\n".join(parts)


def actions() -> str:
    """What accounts may ask for, and who may."""
    rows = []
    for action in Action:
        rule = RULES[action]
        rows.append(
            (
                f"`{action.value}`",
                "nobody" if rule.delegate is None else rule.delegate.name.lower(),
                "" if rule.own_task is None else rule.own_task.name.lower(),
                "yes" if rule.provider else "",
            )
        )
    head = ("action", "delegates from scope", "for a task of its own", "the node's provider")
    return table(head, rows)


def settings() -> str:
    """The pool's settings and their values."""
    rows = ((f"`{name}`", ", ".join(f"`{v}`" for v in values)) for name, values in SETTINGS.items())
    return table(("setting", "values"), rows)


def timings() -> str:
    """The timing profiles of the election."""
    rows = (
        (
            f"`{profile.name.lower()}`",
            one.append_interval_ms,
            f"{one.election_timeout_min_ms} to {one.election_timeout_max_ms}",
        )
        for profile, one in TIMINGS.items()
    )
    return table(("profile", "appends, every ms", "election timeout, ms"), rows)
