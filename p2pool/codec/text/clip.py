"""Texts that others wrote, cut to a length in bytes that a message or an entry has room for."""

ELLIPSIS = "..."


def clipped(text: str, most_bytes: int) -> str:
    """The text, or its beginning and three dots if its UTF-8 takes more than `most_bytes`. Half of
    a pair of surrogates, which UTF-8 lacks, becomes a question mark."""
    data = text.encode(errors="replace")
    if len(data) <= most_bytes:
        return text if data.isascii() else data.decode()
    return data[: most_bytes - len(ELLIPSIS)].decode(errors="ignore") + ELLIPSIS
