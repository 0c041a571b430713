"""Paths that people write become absolute where they enter the program.

An engine takes absolute paths alone, and what runs for months does not depend on the directory that
it was started in. `~` is the home of this user, also where no shell wrote it out.
"""

from pathlib import Path

from p2pool.model.errors import Misconfigured


def absolute_path(given: str | Path) -> Path:
    """The absolute form of a path. Misconfigured: it begins with a home that nobody has, or has a
    character that no path has."""
    if "\0" in str(given):
        raise Misconfigured(f"{str(given)[:200]!r} is no path: it holds a null character.")
    try:
        path = Path(given).expanduser()
    except RuntimeError as error:
        raise Misconfigured(
            f"{str(given)[:200]!r} is no path here: that user has no home directory."
        ) from error
    # A link before `..` leads elsewhere than the text says, so only the disk can tell.
    return path.resolve() if ".." in path.parts else path.absolute()
