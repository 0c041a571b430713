"""Runs what the table of calls in threads names, under the watch."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.first_run.harness.call_coverage import missing
from tests.first_run.harness.trio_watch import watching


@contextmanager
def exercised(name: str) -> Iterator[None]:
    """Fails where trio was touched from a thread, or a site of this exercise was not reached."""
    with watching() as watch:
        yield
    assert not watch.misuses, "\n".join(watch.misuses)
    assert missing(name, watch) == []
