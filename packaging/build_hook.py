"""Writes the commit into what is built, so that an installed p2pool can say which one it is.

It runs inside hatchling, in an environment without p2pool: of the package it loads one file, by its
path. A source archive brings the file with it, and a wheel that is made of one takes it over. An
editable install gets none: its checkout moves on, and is asked when somebody wants to know.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILE = "p2pool/commit.txt"


class CommitHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds `p2pool/commit.txt`."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before anything is packed. `version` is the kind of the build."""
        root = Path(self.root)
        if version == "editable" or (root / FILE).exists():
            return
        commit = _commit(root)
        if commit is None:
            return
        handle, self._written = tempfile.mkstemp(prefix="p2pool-commit-")
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(commit + "\n")
        os.chmod(self._written, 0o644)
        build_data["force_include"][self._written] = FILE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called when it is packed."""
        written = getattr(self, "_written", None)
        if written is not None:
            os.unlink(written)


def _commit(root: Path) -> str | None:
    """The commit of the checkout, marked where the package was changed since."""
    sys.path.insert(0, str(root))
    try:
        from p2pool.drivers import build
    except ImportError:
        return None
    finally:
        sys.path.remove(str(root))
    commit = build.commit_of(root)
    return commit + build.DIRTY if commit and build.changed(root) else commit
