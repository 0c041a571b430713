"""Lengths of numbers."""


def int_bytelen(number: int) -> int:
    """How many bytes a number that is not negative needs; none for zero."""
    return (number.bit_length() + 7) // 8
