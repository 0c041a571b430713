"""What the stand-in for NVIDIA's hook wrote down: for which containers it was called."""

import json
from pathlib import Path

from p2pool.dev.engine.engine import Engine


def hooked(engine: Engine) -> dict[str, str]:
    """The containers that the hook was called for, and the GPUs that each was to get."""
    found = {}
    for record in (engine.directory / "tools" / "called").iterdir():
        state = json.loads(record.read_text())
        bundle = Path(state["bundle"]) / "config.json"
        if not bundle.exists():
            continue  # Of a container of an earlier test.
        config = json.loads(bundle.read_text())
        for variable in config["process"]["env"]:
            if variable.startswith("NVIDIA_VISIBLE_DEVICES="):
                found[state["id"]] = variable.partition("=")[2]
    return found
