"""Finds judges of work by their names: the one that comes with p2pool, and entry points.

A package offers a judge under the group `p2pool.work_judges`:

    [project.entry-points."p2pool.work_judges"]
    ours = "our_package.judge:make"

Invariants: only the judge that the policy names is imported; nobody takes the name of the one that
comes with p2pool; what a plug-in does wrong while it is loaded is told with its name.
"""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from p2pool.model.errors import Misconfigured, P2poolError
from p2pool.validator.judging.judge import WorkJudge

GROUP = "p2pool.work_judges"
OWN = EntryPoint("re-execution", "p2pool.validator.judging.re_execution:make", GROUP)


def judge_named(name: str, options: Mapping[str, str]) -> WorkJudge:
    """The judge of that name. `Misconfigured`: there is none, or it cannot be made."""
    offered = _offered()
    if name not in offered:
        raise Misconfigured(
            f"No judge of work is called {name!r}.",
            hint=f"Installed here: {', '.join(sorted(offered))}. A package offers one by an entry"
            f" point of the group {GROUP}.",
        )
    try:
        made: WorkJudge = offered[name].load()(dict(options))
    except P2poolError:
        raise
    except Exception as error:
        raise Misconfigured(
            f"The judge of work {name!r} cannot be made: {type(error).__name__}: {error}.",
            hint=f"It is {offered[name].value}. Ask whoever wrote it, or name another one.",
        ) from error
    if not callable(getattr(made, "judge", None)):
        raise Misconfigured(f"The judge of work {name!r} has no method `judge`.")
    return made


def _offered() -> dict[str, EntryPoint]:
    return {**{one.name: one for one in entry_points(group=GROUP)}, OWN.name: OWN}
