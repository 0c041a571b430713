"""Checks that an environment holds p2pool and its requirements; the environment's Python runs it:
  python -I packaging/whole.py ROOT [EXTRA...]
pip's exit code says that pip did as it was told, which can be something else.

It prints what is wrong and exits with 1; it prints nothing if all is well.
"""

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from pip._vendor.packaging.requirements import InvalidRequirement, Requirement


def lack(name: str, extras: frozenset[str]) -> str | None:
    """What a distribution lacks, or what its requirements lack; None if nothing is missing."""
    todo, seen = [Requirement(f"{name}[{','.join(extras)}]")], set()
    while todo:
        wanted = todo.pop()
        try:
            found = distribution(wanted.name)
        except PackageNotFoundError:
            return f"{wanted.name} is not there"
        if wanted.url is None and not wanted.specifier.contains(found.version, prereleases=True):
            return f"{wanted.name} is there in version {found.version}, not {wanted.specifier}"
        key = (wanted.name.lower(), frozenset(wanted.extras))
        if key not in seen:
            seen.add(key)
            todo += required(found.requires or [], ["", *wanted.extras])
    return None


def required(lines: list[str], extras: list[str]) -> list[Requirement]:
    """The requirements for this machine. Skips lines of old packages that are not valid."""
    found = []
    for line in lines:
        try:
            one = Requirement(line)
        except InvalidRequirement:
            continue
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras):
            found.append(one)
    return found


def main() -> int:
    """Check; returns the exit code."""
    root, *extras = sys.argv[1:]
    wrong = lack("p2pool", frozenset(extras))
    if wrong is None:
        spec = importlib.util.find_spec("p2pool")
        if spec is None or spec.origin is None:
            wrong = "p2pool cannot be imported"
        elif not Path(spec.origin).resolve().is_relative_to(Path(root).resolve()):
            wrong = f"its p2pool is that of {spec.origin}"
    if wrong is not None:
        print(wrong)
    return 0 if wrong is None else 1


if __name__ == "__main__":
    sys.exit(main())
