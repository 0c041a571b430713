"""Reads a table of JSON values key by key and collects every problem instead of stopping at one.

A method for each kind of value takes the key out of the table, checks it, and gives the value or
something harmless of the right type if it is bad; the caller looks at `problems` at the end. Keys
that no method took are unknown, and the reader suggests the nearest known one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, TypeVar

from p2pool.codec.text.ranges import outside, short_number
from p2pool.model import limits

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

_SHOWN = 64
_UNKNOWN_MAX = 16
_ITEM = re.compile(r"\[\d+\]")
NO_KEYS: Mapping[str, str] = {}

Rule = Callable[[str], str]
"""Returns what is wrong with a text, or an empty string."""


class Reader:
    """One table at `path`, with the list that problems are added to."""

    def __init__(
        self, value: Any, path: str, problems: list[str], later: Mapping[str, str] = NO_KEYS
    ) -> None:
        """Anything but a table is a problem, and reads as an empty one. `later`: by the path of a
        key, without numbers of items, why it cannot be taken now."""
        self.path, self.problems, self.later = path, problems, later
        self.known: list[str] = []
        self.broken = not isinstance(value, dict)
        self.left: dict[Any, Any] = {} if self.broken else dict(value)
        if self.broken:
            self.problem("", "is not an object")

    def problem(self, key: str, sentence: str) -> None:
        """Note what is wrong with a key."""
        place = ".".join(part for part in (self.path, key) if part) or "the specification"
        self.problems.append(f"{place} {sentence}")

    def finish(self) -> None:
        """Report keys that no method took."""
        unknown = sorted(str(key)[:_SHOWN] for key in self.left)
        for key in unknown[:_UNKNOWN_MAX]:  # a hostile table may have thousands
            near = get_close_matches(key, self.known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(self.known)}"
            self.problem("", f"has an unknown key {key!r} ({hint})")

    def take(self, key: str) -> Any:
        """The value of a key, or None where it is absent (null is no value)."""
        self.known.append(key)
        if key in self.left and self.left[key] is None:
            self.problem(key, "is null: leave it out instead")
        value = self.left.pop(key, None)
        if value is not None and self.later and (why := self.later.get(self._plain(key))):
            self.problem(key, why)
            return None
        return value

    def _plain(self, key: str) -> str:
        path = f"{self.path}.{key}" if self.path else key
        return _ITEM.sub("", path)

    def missing(self, key: str) -> None:
        """A key that has to be there."""
        if not self.broken:
            self.problem(key, "is missing")

    def text(self, key: str, default: str | None = None, *, rule: Rule) -> str:
        """A text that passes a rule; without a default it has to be there."""
        value = self.take(key)
        if value is None:
            if default is None:
                self.missing(key)
            return default or ""
        return self._checked(key, value, rule)

    def _checked(self, key: str, value: Any, rule: Rule) -> str:
        if not isinstance(value, str):
            self.problem(key, f"is not text but {_kind(value)}")
            return ""
        if len(value.encode("utf-8", "surrogatepass")) > limits.SPEC_TEXT_MAX_BYTES:
            self.problem(key, f"is longer than {limits.SPEC_TEXT_MAX_BYTES} bytes")
        elif wrong := rule(value):
            self.problem(key, wrong)
        return value

    def number(self, key: str, default: int | None, least: int, most: int) -> int:
        """An integer from `least` to `most`; without a default it has to be there."""
        value = self.take(key)
        if value is None:
            if default is None:
                self.missing(key)
            return least if default is None else default
        if type(value) is not int:
            self.problem(key, f"is not a whole number but {_kind(value)}")
        elif wrong := outside(value, least, most):
            self.problem(key, f"is {short_number(value)}, {wrong}")
        else:
            return value
        return least

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.take(key)
        if value is None:
            return default
        if type(value) is not bool:
            self.problem(key, f"is not true or false but {_kind(value)}")
            return default
        return value

    def word(self, key: str, words: Sequence[str], default: str | None = None) -> str:
        """One of a few words."""
        value = self.take(key)
        if value is None:
            if default is None:
                self.missing(key)
            return default or words[0]
        if not isinstance(value, str) or value not in words:
            near = get_close_matches(value[:_SHOWN], words, n=1) if isinstance(value, str) else []
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            self.problem(key, f"is not one of {', '.join(words)}{hint}")
            return words[0]
        return value

    def choice(self, key: str, kind: type[E], default: E | None) -> E:
        """A member of an enum of words."""
        words = [member.value for member in kind]
        return kind(self.word(key, words, None if default is None else default.value))

    def items(self, key: str, most: int) -> list[Any]:
        """A list of at most so many."""
        value = self.take(key)
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            self.problem(key, f"is not a list but {_kind(value)}")
            return []
        if len(value) > most:
            self.problem(key, f"has {len(value)} items, {most} at most")
            return []
        return list(value)

    def texts(self, key: str, most: int, *, rule: Rule, unique: bool = False) -> tuple[str, ...]:
        """A list of texts."""
        found = [
            self._checked(f"{key}[{number}]", item, rule)
            for number, item in enumerate(self.items(key, most))
        ]
        if unique and len(set(found)) != len(found):
            self.problem(key, "names something twice")
        return tuple(found)

    def pairs(self, key: str, most: int, name: Rule, value: Rule) -> tuple[tuple[str, str], ...]:
        """An object from text to text, as pairs sorted by name."""
        table = self.take(key)
        if table is None:
            return ()
        if not isinstance(table, dict):
            self.problem(key, f"is not an object but {_kind(table)}")
            return ()
        if len(table) > most:
            self.problem(key, f"has {len(table)} keys, {most} at most")
            return ()
        found: list[tuple[str, str]] = []
        for item, content in table.items():
            place = f"{key}.{str(item)[:_SHOWN]}"
            if not isinstance(item, str):
                self.problem(place, "is not a text")
            else:
                if wrong := name(item):
                    self.problem(place, wrong)
                found.append((item, self._checked(place, content, value)))
        return tuple(sorted(found))

    def table(self, key: str, read: Callable[["Reader"], T], default: T) -> T:
        """An object inside this one."""
        value = self.take(key)
        if value is None:
            return default
        return self._inner(key, value, read)

    def tables(self, key: str, most: int, read: Callable[["Reader"], T]) -> tuple[T, ...]:
        """A list of objects."""
        return tuple(
            self._inner(f"{key}[{number}]", item, read)
            for number, item in enumerate(self.items(key, most))
        )

    def _inner(self, key: str, value: Any, read: Callable[["Reader"], T]) -> T:
        path = f"{self.path}.{key}" if self.path else key
        inner = Reader(value, path, self.problems, self.later)
        found = read(inner)
        inner.finish()
        return found


def _kind(value: Any) -> str:
    """The kind of a JSON value, in words for people."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    names |= {int: "a number", float: "a number with a fraction", type(None): "null"}
    return names.get(type(value), type(value).__name__)
