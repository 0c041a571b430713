"""Types of arguments: sizes, spans, processors, addresses, hashes of committees.

People write `--memory 2GiB` and `--cpus 1.5`; they sign whole bytes and thousandths of a processor.
"""

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from p2pool.model.ids import Address, Digest


class AddressType(click.ParamType["Address"]):
    """An address on the command line: 0x and 40 hex digits."""

    name = "address"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Address":
        """The 20 bytes."""
        from p2pool.model.ids import ADDRESS_BYTES, Address

        found = _unhexed(value, ADDRESS_BYTES)
        if found is None:
            self.fail(f"{value!r} is not an address: 0x and 40 hex digits.", param, ctx)
        return Address(found)


class CommitteeHash(click.ParamType["Digest"]):
    """A committee's hash: 64 hex digits."""

    name = "HASH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Digest":
        """The 32 bytes."""
        from p2pool.model.ids import DIGEST_BYTES, Digest

        found = _unhexed(value, DIGEST_BYTES)
        if found is None:
            self.fail(f"{value!r} is not a committee's hash: 64 hex digits.", param, ctx)
        return Digest(found)


def _unhexed(value: Any, length: int) -> bytes | None:
    """The bytes that hex digits stand for; None if they stand for another number of bytes. A value
    that click converted before stays as it is."""
    from p2pool.codec.json.hex import unhex

    return value if isinstance(value, bytes) else unhex(str(value), length)


_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([kmgt]?)(i?)(b?)", re.IGNORECASE)


_SPAN = re.compile(r"([0-9]{1,12})(s|m|h|d)?")


_SPAN_S = {None: 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Size(click.ParamType[int]):
    """`512MiB`, `2g`, `1.5GiB`: units are powers of 1024, as in docker."""

    name = "SIZE"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Whole bytes."""
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"{value!r} is not a size such as 512MiB or 2g.", param, ctx)
        return int(Decimal(found[1]) * 1024 ** " kmgt".index(found[2].lower() or " "))


class Cpus(click.ParamType[int]):
    """Processors, with three decimals at most."""

    name = "CPUS"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Thousandths of a processor."""
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", str(value)):
            self.fail(f"{value!r} is not a number of processors such as 2 or 0.5.", param, ctx)
        return int(Decimal(str(value)) * 1000)


class Span(click.ParamType[int]):
    """`90`, `90s`, `10m`, `2h`, `7d`."""

    name = "TIME"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Seconds."""
        if isinstance(value, int):
            return value
        found = _SPAN.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"{value!r} is not a time such as 90s, 10m or 2h.", param, ctx)
        return int(found[1]) * _SPAN_S[found[2]]


UINT256 = 2**256 - 1
