"""No copy starts without the secrets that it was made for, on any runtime."""

from collections.abc import Sequence

from p2pool.model.errors import RuntimeUnavailable
from p2pool.model.tasks.secrets import SecretValue, TaskSecrets


def check_given(wanted: TaskSecrets, given: Sequence[SecretValue]) -> None:
    """RuntimeUnavailable: what a specification names has not been opened here."""
    there = [one.name for one in given]
    if wanted.sealed and any(use.name not in there for use in wanted.uses):
        raise not_given()


def not_given() -> RuntimeUnavailable:
    """The error for a copy that would have to start without its secrets."""
    return RuntimeUnavailable("The secrets of this copy are not here: it does not start without.")
