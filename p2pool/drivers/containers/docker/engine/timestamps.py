"""The engine's timestamps."""

from datetime import UTC, datetime


def at_ms(text: str) -> int:
    """Unix milliseconds of an engine timestamp (RFC 3339, nanoseconds); 0 if empty or invalid, also
    where its zone leads out of the years that there are."""
    if not text or text.startswith("0001-"):
        return 0
    head, _, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :] if rest else ""
    if not rest:
        head, zone = (text[:-1], "Z") if text.endswith("Z") else (text[:19], text[19:])
    try:
        whole = datetime.fromisoformat(head + ("+00:00" if zone in ("Z", "") else zone))
        return int(whole.astimezone(UTC).timestamp()) * 1000 + int((digits + "000")[:3])
    except (ValueError, OverflowError):
        return 0
