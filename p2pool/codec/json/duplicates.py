"""Names that stand twice in a JSON object, of which a parser keeps one value and drops the other.

Invariants: the work follows the number of names, though whoever wrote them chose all of them.
"""

from collections import Counter
from collections.abc import Iterable


def repeated(names: Iterable[str]) -> list[str]:
    """The names that come more than once, each once, in the order of their first places."""
    return [name for name, times in Counter(names).items() if times > 1]
