"""Which appends prove by themselves that their leader lies, to whoever reads them.

Intuition: a follower refuses an entry by what its own log holds (`append_check`). Others hold other
logs, so to them that is one word against another. Some lies need no log to be seen: a leader seals
an entry of its own term that no leader of any version writes, or a change of the committee together
with the configuration before it, or a request in the name of somebody who did not sign it. The
leader's own word on its committee (`CertificateSigned`) shows a change as well, if the frame
reaches back to it.

Invariants: an honest leader is never proven to lie. So only entries of the frame's own term count:
earlier ones may be a former leader's, which one of an earlier version has let in. A body of a later
version counts for nothing, and so do rules that a version may change (settings, levels). A change
is judged only by what the same leader sealed: its log is what others think it is only as far as
earlier leaders told all of them the same. Behind a configuration that cannot be read nothing is
judged: earlier versions read some that later ones skip.
Source: docs/design/consensus.md, "What a follower appends".
"""

from collections.abc import Callable

import attrs

from p2pool.codec.entries import configuration_in, decode_body
from p2pool.core.raft import confchange
from p2pool.model import features, limits
from p2pool.model.errors import Malformed, TooNew
from p2pool.model.log.raft import Configuration, Entry, EntryKind, Voter
from p2pool.model.messages.raft import AppendRequested

SIGNED = (EntryKind.REQUEST, EntryKind.ADOPTION)
"""The entries that name who signed what is in them."""


@attrs.frozen
class CommitteeAt:
    """The voters at an index, by the leader's own word in the frame's term."""

    index: int
    voters: tuple[Voter, ...]


@attrs.frozen
class Flaw:
    """The entry that proves the lie, and why no honest leader writes it."""

    index: int
    reason: str


Forged = Callable[[object], str | None]
"""Why the request in a record is not that of whom it names; None if it is, or there is none."""


def flaw(
    frame: AppendRequested,
    committee: CommitteeAt | None = None,
    forged: Forged = lambda record: None,
) -> Flaw | None:
    """The first entry of a frame that proves its leader a liar; None if nothing here does.
    `committee`: what the same leader said of its committee, in the same term. `forged` is asked for
    the entries of that term, and no more than `limits.BAD_APPEND_SIGNATURES_MAX` of them."""
    before: Configuration | None = None
    index, voters_index = frame.previous_index, committee.index if committee is not None else 0
    reaches = committee is not None and index <= voters_index
    left = limits.BAD_APPEND_SIGNATURES_MAX
    for entry in frame.entries:
        if entry.index != index + 1 or entry.term > frame.term:
            return None  # No leader sends that by mistake either, but it is nobody's log.
        index = entry.index
        why, record = _read(entry)
        if entry.kind in SIGNED and entry.term == frame.term and left > 0:
            why, left = why or forged(record), left - 1
        wanted = configuration_in(entry)
        if wanted is not None and before is not None:
            why = confchange.step_refusal(before, wanted)
        elif wanted is not None and committee is not None and reaches and index > voters_index:
            why = confchange.voters_refusal(committee.voters, wanted)
        if wanted is not None and wanted.is_joint:
            why = why or confchange.voters_refusal(wanted.outgoing, wanted)
        if why is not None and entry.term == frame.term:
            return Flaw(index, why)
        if wanted is None and entry.kind == EntryKind.CONFIGURATION:
            return None
        before = wanted or before
    return None


def _read(entry: Entry) -> tuple[str | None, object]:
    """Why a body is none of its kind, whichever version reads it, or None; and what it says."""
    try:
        record = decode_body(entry.kind, entry.body, features.newest())
    except TooNew:
        return None, None
    except Malformed as error:
        name = EntryKind(entry.kind).name.lower()
        return f"its body is not that of a {name} entry: {error}", None
    return record.flaw if isinstance(record, Configuration) else None, record
