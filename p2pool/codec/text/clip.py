"""Texts that others wrote, cut to a length in bytes that a message or an entry has room for.

Invariants: a text that was cut ends with an ellipsis, which counts; to cut twice changes nothing.
"""

ELLIPSIS = "\u2026"


def clipped(text: str, most_bytes: int) -> str:
    """The text, or its beginning and an ellipsis if its UTF-8 takes more than `most_bytes`. Half of
    a pair of surrogates, which UTF-8 lacks, becomes a question mark."""
    data = text.encode(errors="replace")
    if len(data) <= most_bytes:
        whole = data.decode()
        return text if whole == text else whole  # What fits stays the same object.
    kept_bytes = most_bytes - len(ELLIPSIS.encode())
    return data[: max(0, kept_bytes)].decode(errors="ignore") + ELLIPSIS
