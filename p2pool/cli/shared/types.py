"""Types of arguments: sizes, spans, processors, addresses, hashes of committees.

People write `--memory 2GiB` and `--cpus 1.5`; they sign whole bytes and thousandths of a processor.
A size has a unit: a bare number would mean bytes, and whoever writes 80 means something else.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pool.cli.shared.output import SPANS, size
from p2pool.codec.text.ranges import outside, short_number
from p2pool.model import limits

if TYPE_CHECKING:
    from p2pool.drivers.keys.signers.place import KeyPlace
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


class AccountType(AddressType):
    """The address of an account that somebody has: with capitals it has to be right by its
    checksum (EIP-55), which finds a mistyped digit."""

    name = "account"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Address":
        """The 20 bytes."""
        found = super().convert(value, param, ctx)
        if not any(found):
            self.fail("Nobody has the key of the zero address.", param, ctx)
        digits = str(value).removeprefix("0x")
        if isinstance(value, bytes) or digits in (digits.lower(), digits.upper()):
            return found
        from p2pool.wire.account import checksummed

        if digits != checksummed(found).removeprefix("0x"):
            self.fail(
                f"{value!r} is mistyped: its capitals do not fit its digits. Copy it again.",
                param,
                ctx,
            )
        return found


class FilePath(click.Path):
    """A file or directory. Commands get it absolute, with `~` written out; `-` stays as it is where
    a file may stand."""

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True) -> None:
        """Which of the two it may be, if it exists."""
        super().__init__(path_type=Path, file_okay=file_okay, dir_okay=dir_okay)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The absolute path."""
        from p2pool.drivers.input_files import input_path
        from p2pool.drivers.paths import absolute_path

        path = input_path(value) if self.file_okay else absolute_path(value)
        return super().convert(path, param, ctx)


class KeyPlaceType(click.ParamType["KeyPlace"]):
    """Where a key is: a file, `fd:N` or `clef:PATH`."""

    name = "key"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "KeyPlace":
        """The place; whether a key is there shows when it is opened."""
        from p2pool.drivers.keys.signers.place import key_place

        return key_place(value)


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


_NUMBER = r"((?:[0-9]{1,15}(?:\.[0-9]{0,6})?|\.[0-9]{1,6}))"
_SIZE = re.compile(rf"{_NUMBER}\s*(?:([kmgtp])(?:i?b)?|(b)|())", re.IGNORECASE)
_CPUS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}")


_SPAN = re.compile(r"([0-9]{1,12})(s|m|h|d)?")


_SPAN_S: dict[str | None, int] = {
    None: 1,
    "s": 1,
    **{unit: length_s for length_s, unit in SPANS},
}


class Size(click.ParamType[int]):
    """`512MiB`, `2g`, `1.5GiB`, `4096b`: units are powers of 1024, as in docker. 0 needs no unit
    where it stands for none."""

    name = "SIZE"

    def __init__(
        self, least: int, *, none: bool = True, most: int = limits.RESOURCE_MAX_BYTES
    ) -> None:
        """From `least` to `most` bytes; `none`: or 0."""
        self.least, self.none, self.most = least, none, most

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Whole bytes."""
        if isinstance(value, int):
            return value
        text = str(value).strip()
        found = _SIZE.fullmatch(text)
        if found is None:
            self.fail(f"{value!r} is not a size such as 512MiB or 2g.", param, ctx)
        from decimal import Decimal

        count = Decimal(found[1]) * 1024 ** " kmgtp".index((found[2] or " ").lower())
        if not count and self.none:
            return 0
        if not found[2] and not found[3]:
            self.fail(
                f"{value!r} has no unit: write {text}MiB, {text}GiB, or {text}b for bytes.",
                param,
                ctx,
            )
        if count < self.least:
            zero = ", or 0 for none" if self.none else ""
            self.fail(f"{value!r} is too small: {size(self.least)} at least{zero}.", param, ctx)
        if count > self.most:
            self.fail(f"{value!r} is too large: {size(self.most)} at most.", param, ctx)
        return int(count)


class Cpus(click.ParamType[int]):
    """Processors, with three decimals at most: `2`, `0.5`, `.5`."""

    name = "CPUS"

    def __init__(self, most_milli: int = limits.CPU_MILLI_MAX) -> None:
        """The most, in thousandths."""
        self.most_milli = most_milli

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Thousandths of a processor."""
        if isinstance(value, int):
            return value
        if not _CPUS.fullmatch(str(value)):
            self.fail(f"{value!r} is not a number of processors such as 2 or 0.5.", param, ctx)
        from decimal import Decimal

        milli = Decimal(str(value)) * 1000
        if milli != int(milli):
            self.fail(f"{value!r} has more than three decimals.", param, ctx)
        if not 1 <= milli <= self.most_milli:
            most = self.most_milli // 1000
            self.fail(f"{value!r} is not between 0.001 and {most} processors.", param, ctx)
        return int(milli)


class Span(click.ParamType[int]):
    """`90`, `90s`, `10m`, `2h`, `7d`, within bounds."""

    name = "TIME"

    def __init__(self, least: int = 0, most: int = limits.TASK_TIME_MAX_S) -> None:
        """Both in seconds."""
        self.least, self.most = least, most

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Seconds."""
        if isinstance(value, int):
            return value
        found = _SPAN.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"{value!r} is not a time such as 90s, 10m or 2h.", param, ctx)
        seconds = int(found[1]) * _SPAN_S[found[2]]
        if wrong := outside(seconds, self.least, self.most, span_text):
            self.fail(f"{span_text(seconds)} is {wrong}.", param, ctx)
        return seconds


def span_text(seconds: int) -> str:
    """A span as people write it, in the largest unit that divides it."""
    for length_s, unit in SPANS:
        if seconds and seconds % length_s == 0:
            return f"{seconds // length_s}{unit}"
    return f"{seconds}s"


_DIGITS = re.compile(r"[+-]?[0-9]{1,100}")
"""What Python takes besides, such as `1_0`, somebody mistyped."""


class Lifetime(Span):
    """`12h`, `30d`, within bounds, with a unit: 30 seconds of a right are nobody's wish."""

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Seconds."""
        text = str(value).strip()
        if not isinstance(value, int) and _SPAN.fullmatch(text) and text.isdigit() and int(text):
            self.fail(f"{value!r} has no unit: write {text}d, {text}h or {text}m.", param, ctx)
        return super().convert(value, param, ctx)


class Moment(click.ParamType[int]):
    """`2026-12-01`, `2026-12-01T06:00:00Z`, or a Unix time in seconds; without a zone it is UTC."""

    name = "TIME"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Unix seconds."""
        if isinstance(value, int):
            return value
        text = str(value).strip()
        if re.fullmatch("[0-9]{6,12}", text):
            return int(text)
        from datetime import UTC, datetime

        try:
            found = datetime.fromisoformat(text)
            at = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
            return int(at.timestamp())
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a time such as 2026-12-01T06:00:00Z.", param, ctx)


class Number(click.IntRange):
    """A whole number within bounds, both included; an error says which one is broken."""

    def __init__(self, least: int, most: int) -> None:
        """As click's range."""
        super().__init__(least, most)
        self.least, self.most = least, most

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """The number."""
        if isinstance(value, str) and not _DIGITS.fullmatch(value):
            self.fail(f"{value[:64]!r} is not a valid integer.", param, ctx)
        number = int(value)
        if wrong := outside(number, self.least, self.most):
            self.fail(f"{short_number(number)} is {wrong}.", param, ctx)
        return number


UINT256 = 2**256 - 1
