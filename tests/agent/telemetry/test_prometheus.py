"""What the config says of `/metrics` holds."""

from typing import Any

import pytest

from p2pool.agent.telemetry.prometheus import Metrics
from p2pool.model.errors import NotFound


def test_metrics_that_are_switched_off_are_shown_to_nobody() -> None:
    """And the answer says how to have them."""
    off = Metrics(lambda: 0, lambda: 0, enabled=False)
    unseen: Any = None
    with pytest.raises(NotFound) as refused:
        off.render(unseen)
    assert "[metrics] enabled = true" in str(refused.value.hint)
