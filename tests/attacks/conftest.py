"""One pool for all attacks; its logs stay when a test fails."""

from collections.abc import Iterator

import pytest

from tests.attacks.pool import Grounds, grounds


@pytest.fixture(scope="package")
def place(request: pytest.FixtureRequest) -> Iterator[Grounds]:
    """The pool, and who of it is attacked."""
    with grounds() as made:
        yield made
