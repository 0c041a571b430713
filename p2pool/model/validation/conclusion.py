"""What a challenge says of a node's claim, in a word that verdicts and evidence share."""

from enum import StrEnum


class Conclusion(StrEnum):
    """What a challenge says of a node's claim."""

    VALID = "valid"
    INVALID = "invalid"
    INCONCLUSIVE = "inconclusive"
