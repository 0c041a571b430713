"""The next version of p2pool, for tests: this one, with some lines of its source changed.

    python -m tests.upgrades.next_version agent run ...

It knows one feature level more. At that level the pool's record of a node has one more field, who
asked last for what is wanted of it, and the reason that is shown of a drained node names the
account by it. The lines are changed as they are loaded, so it is what a later commit would be: a
line that is not there any more ends it at once.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

VERSION = "0.99.0"
LEVEL = 3
ASKED_BY = "asked for by 0x"

Change = tuple[str, str]
CHANGES: Mapping[str, Sequence[Change]] = {
    "p2pool": [('__version__ = "', f'__version__ = "{VERSION}"  # was "')],
    "p2pool.model.features": [
        (
            "NEWEST_LEVEL: FeatureLevel = DISTRUST_LEVEL\n",
            f'LEVELS[FeatureLevel({LEVEL})] = "For tests alone."\n'
            f"NEWEST_LEVEL: FeatureLevel = FeatureLevel({LEVEL})\n",
        )
    ],
    "p2pool.core.fsm.state": [
        (
            '    membership_at_ms: int = 0\n    eject: str = ""\n',
            '    membership_at_ms: int = 0\n    eject: str = ""\n'
            f'    asked_by: str = since({LEVEL}, default="")\n',
        ),
    ],
    "p2pool.core.fsm.requests": [
        (
            "intent=intent, intent_reason=reason)",
            "intent=intent, intent_reason=reason, asked_by="
            f'record.signer.hex() if changes.state.level >= {LEVEL} else "")',
        )
    ],
    "p2pool.core.fsm.nodes": [
        (
            "        parts.append(node.intent_reason)\n",
            "        parts.append(node.intent_reason)\n"
            f'        parts.append("{ASKED_BY}" + node.asked_by if node.asked_by else "")\n',
        )
    ],
}  # fmt: skip


class Later(SourceFileLoader):
    """Loads a module with its lines changed; never from byte code, which has the old ones."""

    def get_code(self, fullname: str) -> CodeType | None:
        """Compile the changed source."""
        source = self.get_data(self.path).decode()
        for old, new in CHANGES[fullname]:
            assert source.count(old) == 1, f"{fullname}: {old!r} is there {source.count(old)} times"
            source = source.replace(old, new)
        return compile(source, self.path, "exec", dont_inherit=True)


class Finder(MetaPathFinder):
    """Finds the modules that change."""

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A module that changes, with its loader; None for all others."""
        spec = PathFinder.find_spec(fullname, path) if fullname in CHANGES else None
        if spec is not None:
            assert spec.origin is not None
            spec.loader = Later(fullname, spec.origin)
        return spec


if __name__ == "__main__":
    assert "p2pool" not in sys.modules, "the old lines are loaded already"
    sys.meta_path.insert(0, Finder())
    from p2pool.__main__ import main

    main()
