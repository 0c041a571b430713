"""Bytes as hex in JSON."""

import re

_HEX = re.compile(r"(?:0x)?((?:[0-9a-fA-F]{2})*)")


def unhex(text: str, size: int) -> bytes | None:
    """Bytes of a hex text with or without `0x`, or None unless there are exactly `size`."""
    found = _HEX.fullmatch(text)
    if found is None or len(found[1]) != 2 * size:
        return None
    return bytes.fromhex(found[1])


def address_text(address: bytes) -> str:
    """An account, contract or node id as people write it: `0x` and 40 lower-case digits."""
    return "0x" + address.hex()
