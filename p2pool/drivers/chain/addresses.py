"""Where the contracts are: one record, from configuration, never compiled in."""

import attrs

from p2pool.model.ids import Address


@attrs.frozen
class Addresses:
    """The contracts' addresses on one chain."""

    network: Address
    pool: Address
    registry: Address
    stakes: Address
    domains: Address
    token: Address


def address_of(text: str) -> Address:
    """An address from `0x` and 40 hex digits; ValueError otherwise."""
    raw = bytes.fromhex(text.removeprefix("0x"))
    if len(raw) != 20:
        raise ValueError(f"{text!r} is no address: 0x and 40 hex digits")
    return Address(raw)


def text_of(address: bytes) -> str:
    """An address as people and RPC endpoints write it, without checksum."""
    return "0x" + address.hex()
