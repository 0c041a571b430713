"""The query and path parameters of the routes, each with its words and bounds.

A list is read in pages: `limit` rows at most, those behind the place `after`. A place is what the
answer's `next` says; it stands for a row, whether that is still there or not, so a reader who
follows `next` sees each row once that was there all the time, in order.
"""

import re
from enum import StrEnum
from typing import Annotated

from litestar.params import PathParameter, QueryParameter

from p2pool.model import limits
from p2pool.model.errors import Malformed

Consistent = Annotated[
    bool, QueryParameter(description="First catch up with the leader; 503 if there is none.")
]
Limit = Annotated[
    int,
    QueryParameter(
        ge=1,
        le=limits.API_PAGE_MAX,
        description="So many rows at most. A page may have fewer and not be the last: `next` says.",
    ),
]


def _after(pattern: str) -> QueryParameter:
    return QueryParameter(
        description="Rows behind this place: `next` of the page before. Empty: from the beginning.",
        pattern=f"^(|{pattern})$",
        max_length=limits.API_PLACE_MAX_BYTES,
    )


TASK_PLACE = r"[0-9]{1,18}-[0-9a-f]{32}"
COPY_PLACE = TASK_PLACE + r"-[0-9]{1,9}"
NODE_PLACE = r"0x[0-9a-f]{40}"
VALIDATION_PLACE = NODE_PLACE + "-" + NODE_PLACE
PROOF_PLACE = r"[0-9]{20}-[0-9a-f]{64}"
GRANT_PLACE = r"[0-9a-f]{40}-[0-9a-f]{40}-[0-9a-f]{16}"
EVENT_PLACE = r"[0-9]{1,19}\.[0-9]{1,19}\.[0-9]{1,19}"

AfterTask = Annotated[str, _after(TASK_PLACE)]
AfterCopy = Annotated[str, _after(COPY_PLACE)]
AfterNode = Annotated[str, _after(NODE_PLACE)]
AfterValidation = Annotated[str, _after(VALIDATION_PLACE)]
AfterProof = Annotated[str, _after(PROOF_PLACE)]
AfterGrant = Annotated[str, _after(GRANT_PLACE)]
AfterVolume = Annotated[
    str,
    QueryParameter(
        description="Volumes behind this id: `next` of the page before.",
        max_length=limits.API_PLACE_MAX_BYTES,
    ),
]
AfterEvent = Annotated[
    str,
    QueryParameter(
        description="Events after this one: EPOCH.INDEX.NUMBER. `Last-Event-ID` says the same.",
        pattern=f"^(|{EVENT_PLACE})$",
        max_length=limits.API_PLACE_MAX_BYTES,
    ),
]


class TaskState(StrEnum):
    """What a task does, or how it ended."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"


class CopyState(StrEnum):
    """What a copy of a task does, or how it ended."""

    PENDING = "pending"
    ASSIGNED = "assigned"
    PULLING = "pulling"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"


class ConclusionWord(StrEnum):
    """What a challenge says of a node's claim."""

    VALID = "valid"
    INVALID = "invalid"
    INCONCLUSIVE = "inconclusive"


class GrantState(StrEnum):
    """What a delegation is worth: void if its grantor has no right any more, unknown while the
    agent has not read the chain."""

    IN_FORCE = "in-force"
    NOT_YET = "not-yet"
    EXPIRED = "expired"
    REVOKED = "revoked"
    VOID = "void"
    UNKNOWN = "unknown"


_LABEL = r"[^=]+(?:=[\s\S]*)?"

States = Annotated[
    list[TaskState] | None,
    QueryParameter(
        name="state", description="Only tasks in this state; given again, in any of these."
    ),
]
CopyStates = Annotated[
    list[CopyState] | None,
    QueryParameter(
        name="state", description="Only copies in this state; given again, in any of these."
    ),
]
Labels = Annotated[
    list[str] | None,
    QueryParameter(
        description="Only tasks with this label, as KEY or KEY=VALUE; given again, with all of"
        " these.",
        max_items=limits.LABELS_MAX,
        schema_extra={"items": {"type": "string", "pattern": f"^{_LABEL}$"}},
    ),
]
OnNode = Annotated[
    str | None,
    QueryParameter(
        description="Only what has, or had, its place on this node: its whole id.",
        schema_extra={"pattern": r"^(?:0x)?[0-9a-fA-F]{40}$"},
    ),
]
OfAccount = Annotated[
    str | None,
    QueryParameter(
        description="Only what this account holds: 0x and 40 hex digits.",
        schema_extra={"pattern": r"^(?:0x)?[0-9a-fA-F]{40}$"},
    ),
]
ByValidator = Annotated[
    str | None,
    QueryParameter(
        description="Only what this validator says: 0x and 40 hex digits.",
        schema_extra={"pattern": r"^(?:0x)?[0-9a-fA-F]{40}$"},
    ),
]
WithConclusion = Annotated[
    ConclusionWord | None, QueryParameter(description="Only verdicts that conclude this.")
]
Named = Annotated[str | None, QueryParameter(description="Only tasks of exactly this name.")]
OfTask = Annotated[
    str | None,
    QueryParameter(
        description="Only copies of this task: its whole id.", pattern=r"^[0-9a-f]{32}$"
    ),
]

TaskText = Annotated[
    str,
    PathParameter(
        description="A task: its id; or its name, and of several of that name the one that lives,"
        f" or else the newest; or the beginning of its id, {limits.API_PREFIX_MIN} digits or more."
    ),
]
NodeText = Annotated[
    str,
    PathParameter(
        description="A node: its id, or the beginning of it,"
        f" {limits.API_PREFIX_MIN} hex digits or more, with or without 0x.",
        schema_extra={"pattern": f"^(0[xX])?[0-9a-fA-F]{{{limits.API_PREFIX_MIN},40}}$"},
    ),
]
AllocationText = Annotated[
    str,
    PathParameter(
        description="A copy of a task: its id, a dot and a number.",
        schema_extra={"pattern": r"^(?:0x)?[0-9a-fA-F]{32}\.(?:0|[1-9][0-9]{0,8})$"},
    ),
]
EvidenceText = Annotated[
    str,
    PathParameter(
        description="The digest that a verdict names its evidence by: 64 hex digits.",
        schema_extra={"pattern": r"^(?:0x)?[0-9a-fA-F]{64}$"},
    ),
]
Framed = Annotated[
    bool,
    QueryParameter(description="Send each piece after its length, and at the end how it ended."),
]
TokenName = Annotated[
    str,
    PathParameter(
        description="A token's name.",
        schema_extra={"pattern": r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"},
    ),
]
VolumeId = Annotated[str, QueryParameter(description="A volume's id, as the list has it.")]


def pairs(labels: list[str] | None) -> tuple[tuple[str, str | None], ...]:
    """Labels by key, with the value or None for any; `Malformed` if one has no key."""
    wrong = [one for one in labels or () if not re.fullmatch(_LABEL, one)]
    if wrong:
        raise Malformed(
            f"label: {wrong[0][:64]!r} is not KEY or KEY=VALUE.", hint="Write label=team=a."
        )
    found = [one.partition("=") for one in labels or ()]
    return tuple((key, value if equals else None) for key, equals, value in found)
