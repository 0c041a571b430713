"""What a challenge says of a node's claim, in a word.

It stands by itself because messages name it too, and evidence names what messages carry.
"""

from enum import StrEnum


class Conclusion(StrEnum):
    """What a challenge says of a node's claim."""

    VALID = "valid"
    INVALID = "invalid"
    INCONCLUSIVE = "inconclusive"
