"""Why a file that a copy was to leave behind is not read, in the words of every runtime."""

from p2pool.model.errors import Malformed, NotFound


def no_file(path: str) -> NotFound:
    """Nothing is there."""
    return NotFound(f"The copy left no file {path}.", hint="Write it before the task ends.")


def no_regular_file(path: str) -> Malformed:
    """Something else is there."""
    return Malformed(
        f"{path} is no regular file.", hint="Write a file, not a link to one, nor a directory."
    )


def too_long(path: str, most_bytes: int) -> Malformed:
    """More is there than anybody reads."""
    return Malformed(
        f"{path} is longer than {most_bytes} bytes.",
        hint="Write a short file that holds the digest of the long one.",
    )
