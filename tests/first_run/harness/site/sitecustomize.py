"""Watches a whole process from its start, if `trio_watch.environment` is in its environment."""

import os
from pathlib import Path

if file := os.environ.get("P2POOL_TEST_WATCH"):
    from tests.first_run.harness.trio_watch import FileWatch, watching

    # Kept: it ends with whatever holds it.
    watched = watching(FileWatch(Path(file)))
    watched.__enter__()
