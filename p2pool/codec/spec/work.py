"""The key `work` of a specification: what is read, and what contradicts it.

Intuition: a piece of work has a key, which counts once on a chain, and a number of units. Both come
out of one source, a file that a copy leaves behind or a line that it writes to its metrics, unless
the specification states them. So whatever would name one piece twice, or find no source, is told
where the task is written, and not by a chain that took gas for it.

Invariants: a table of no source is refused; so is a key that several pieces would share.
Source: docs/containers.md, "Work".
"""

import re
from collections.abc import Iterator

from p2pool.codec.json.reader import Reader
from p2pool.codec.spec import rules
from p2pool.codec.spec.secrets import DIRECTORY
from p2pool.codec.text.metric_line import NAME
from p2pool.model import limits
from p2pool.model.tasks.spec import MountKind, RestartMode, TaskSpec, WorkRequest

_KEY = re.compile(rf"0x[0-9a-f]{{{2 * limits.WORK_KEY_BYTES}}}")


def read_work(r: Reader) -> WorkRequest:
    """The table."""
    found = WorkRequest(
        file=r.text("file", "", rule=_file_rule),
        metric=r.text("metric", "", rule=_metric_rule),
        key=r.text("key", "", rule=_key_rule),
        units=r.number("units", 0, 1, limits.WORK_UNITS_MAX),
    )
    if not r.broken and not found.is_asked:
        r.problem("", "names no source: set file, or metric")
    return found


def _file_rule(text: str) -> str:
    wrong = rules.target_rule(text)
    if wrong == "would cover the whole container":
        return "is a directory: name the file that the task writes"
    if wrong.startswith("would cover"):
        return "lies where a copy that has ended has no files: name another path"
    if f"{text}/".startswith(f"{DIRECTORY}/"):
        return "is a secret, and none of the work: name another path"
    return wrong


def _metric_rule(text: str) -> str:
    if NAME.fullmatch(text):
        return ""
    return "is not the name of a metric: a letter first, 64 letters, digits or _.:/- at most"


def _key_rule(text: str) -> str:
    if _KEY.fullmatch(text):
        return ""
    return (
        f"is not 0x and {2 * limits.WORK_KEY_BYTES} lower-case hex digits: leave it out for a"
        " digest of the work"
    )


def work_contradictions(spec: TaskSpec) -> Iterator[str]:
    """What contradicts itself, or the rest of a specification."""
    work = spec.work
    if not work.is_asked:
        return
    if work.file and work.metric:
        yield "work has two sources: keep file or metric"
    elif work.metric and work.key:
        yield "work.key is one key, and each line of work.metric is a piece: leave work.key out"
    if work.key:
        yield from _shared_key(spec)
    if work.file:
        yield from _unwritten(spec)


def _shared_key(spec: TaskSpec) -> Iterator[str]:
    """Who else would name the same piece."""
    say = "work.key would name the piece of every {}, and a piece counts once: leave work.key out"
    if spec.replicas > 1 or spec.system:
        yield say.format("copy")
    elif spec.restart.mode is RestartMode.ALWAYS:
        yield say.format("restart")


def _unwritten(spec: TaskSpec) -> Iterator[str]:
    """Why no copy leaves that file behind."""
    file = spec.work.file
    inside = [one for one in spec.mounts if f"{file}/".startswith(f"{one.target}/")]
    if not inside:
        if spec.read_only:
            yield "work.file lies where read_only lets the task write nothing: add a mount for it"
        return
    mount = inside[0]
    if mount.target == file:
        yield "work.file is a mount, which is a directory: name a file in it"
    elif mount.kind is MountKind.TMPFS:
        yield "work.file lies in a tmpfs mount, which ends with the copy: name a path outside"
    elif mount.read_only:
        yield "work.file lies in a mount that is read_only: name a path that the task writes to"
