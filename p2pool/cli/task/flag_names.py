"""Says what is wrong with a specification in the words of the flags that it came from.

A problem begins with the path of a key (`codec.spec`). Whoever typed `--gpus` never saw that path.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

_FLAGS: Mapping[str, str] = {
    "image": "--image",
    "name": "--name",
    "command": "the command",
    "entrypoint": "--entrypoint",
    "env": "--env",
    "labels": "--label",
    "replicas": "--replicas",
    "priority": "--priority",
    "pull": "--pull",
    "read_only": "--read-only",
    "init": "--init",
    "requirements": "--requirements",
    "mounts": "--mount",
    "ports": "--publish",
    "deadline_s": "--deadline",
    "stop_grace_s": "--stop-grace",
    "restart.mode": "--restart",
    "restart.attempts": "--restart-attempts",
    "restart.on_unhealthy": "--restart-unhealthy",
    "resources.cpu_milli": "--cpus",
    "resources.memory_bytes": "--memory",
    "resources.swap_bytes": "--swap",
    "resources.shm_bytes": "--shm",
    "resources.disk_bytes": "--disk",
    "resources.pids": "--pids",
    "resources.gpu.count": "--gpus",
    "resources.gpu.model": "--gpu-model",
    "resources.gpu.memory_min_bytes": "--gpu-memory",
    "secrets": "--secret",
}
_PARTS: Mapping[str, str] = {
    "kind": "type",
    "read_only": "readonly",
    "size_bytes": "size",
    "keep_s": "keep",
}
"""What a flag calls the parts of a mount."""
_ITEM = re.compile(r"\[(\d+)\]\.?")


def in_flags(problems: Iterable[str], given: Mapping[str, Any]) -> list[str] | None:
    """The problems with flags for keys, or None if no flag that was given has any."""
    said = [_said(problem, given) for problem in problems]
    if all(text is None for text in said):
        return None
    return [text or problem for text, problem in zip(said, problems, strict=True)]


def _said(problem: str, given: Mapping[str, Any]) -> str | None:
    path, _, sentence = problem.partition(" ")
    for key in sorted(_FLAGS, key=len, reverse=True):
        if path != key and not path.startswith((f"{key}.", f"{key}[")):
            continue
        if not _was_given(given, key):
            return None
        rest = path.removeprefix(key)
        flag = _FLAGS[key]
        if found := _ITEM.match(rest):
            number, rest = int(found[1]) + 1, rest[found.end() :]
            flag = f"{flag} (no. {number})"
            rest = _PARTS.get(rest, rest)
        elif path == key:
            sentence = re.sub("^name ", "names ", sentence)  # The key is many, its flag is one.
        sentence = sentence.replace("resources.gpu", "--gpus")
        return f"{flag} {rest.lstrip('.')} {sentence}".replace("  ", " ") + "."
    return None


def _was_given(given: Mapping[str, Any], key: str) -> bool:
    value: Any = given
    for part in key.split("."):
        value = value.get(part)
    if key.startswith("resources.gpu.") and value is None:  # What one of them lacks, another asks.
        return any(one is not None for one in given["resources"]["gpu"].values())
    return value is not None and value != () and value != {}
