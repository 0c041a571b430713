"""What a checker raises."""


class Violation(AssertionError):
    """A property that must always hold does not."""
