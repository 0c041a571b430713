"""Each message is declared once, with a number that nothing else has, and nothing is forgotten."""

import ast
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from p2pool.model import messages
from p2pool.model.messages import registry
from p2pool.model.messages.queries import Ping
from p2pool.model.messages.registry import DECLARATIONS, TYPES, Channel, Message, Senders

FOLDER = Path(messages.__file__).parent

NUMBERS = {
    Channel.HELLO: [1],
    Channel.BEAT: [2],
    Channel.ANNOUNCE: [3, 4, 5, 92],
    Channel.RAFT: [*range(10, 20), 24],
    Channel.WORK: [*range(20, 24)],
    Channel.QUERY: [*range(30, 54), *range(56, 60), *range(70, 79), 90, 91],
    Channel.LOGS: [*range(60, 67)],
    Channel.CHALLENGE: [*range(80, 89), *range(93, 97)],
}
"""All numbers that were ever given. 54 and 55 never were."""


def _written() -> set[str]:
    """The names of the classes of messages in the sources, whether or not anything imports them."""
    found = set()
    for path in FOLDER.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and any(
                isinstance(base, ast.Name) and base.id == "Message" for base in node.bases
            ):
                found.add(node.name)
    return found


def test_importing_the_messages_declares_them_all() -> None:
    """A message counts once it is written: no list elsewhere has to name it."""
    code = (
        "import p2pool.model.messages\n"
        "from p2pool.model.messages.registry import TYPES\n"
        "print(*[cls.__name__ for cls in TYPES.values()])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    declared = ran.stdout.split()
    assert set(declared) == _written()
    assert len(declared) == len(set(declared))


def test_no_number_is_missing_or_given_twice() -> None:
    """Each number that was given has its message still, on the channel that it has always had."""
    found: dict[Channel, list[int]] = {channel: [] for channel in Channel}
    for number, cls in sorted(TYPES.items()):
        assert DECLARATIONS[cls].number == number
        found[DECLARATIONS[cls].channel].append(number)
    assert found == NUMBERS
    assert len(DECLARATIONS) == len(TYPES)


def test_what_is_declared_wrongly_is_refused_at_once() -> None:
    """A number or a purpose that is taken, and a sender that the channel does not know."""

    @attrs.frozen
    class Another(Message):
        """Not a message yet."""

    for number, channel, senders, purpose in (
        (30, Channel.QUERY, Senders.GUESTS, "Another"),
        (54, Channel.QUERY, Senders.GUESTS, "Ping"),
        (54, Channel.QUERY, Senders.GOSSIP, "Another"),
        (54, Channel.BEAT, Senders.MEMBERS, "Another"),
    ):
        with pytest.raises(AssertionError):
            registry.message(number, channel, senders=senders, purpose=purpose)(Another)
    assert 54 not in TYPES
    assert TYPES[30] is Ping
