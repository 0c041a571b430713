"""A plan: the whole rest of the way to what somebody wants of the chain, as calls and waits.

Intuition: a person who pays wants to see everything before the first transaction: what is sent,
with which bytes, and for whom it waits in between. So a verb reads the chain, makes a plan from
what it read, and either shows the plan or sends it. What is already so needs no step: the plan of a
way that is gone to its end is empty.

Invariants: a plan is pure, made of facts alone; what is sent is `ready`, call by call, the same
bytes that a dry run shows; nothing behind a wait is sent. A call whose bytes nobody can know yet,
because somebody has to sign them first, is a `Later`, and says what it lacks.
"""

from functools import cached_property

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.abi import Function
from p2pool.model.ids import Address


@attrs.frozen
class Call:
    """A transaction. `name`: what is so once it is done. `purpose`: a sentence for people.
    `tokens_wei`: what it takes out of the sender's tokens; `stake_wei`: what the sender's stake
    comes to by it, in all, if it stakes. `asks`: it needs a person's yes."""

    name: str
    purpose: str
    to: Address
    function: Function
    arguments: tuple[object, ...]
    tokens_wei: int = 0
    stake_wei: int = 0
    value_wei: int = 0
    asks: bool = False

    @cached_property
    def data(self) -> bytes:
        """The calldata."""
        return self.function.call(*self.arguments)

    @property
    def text(self) -> str:
        """The call as one writes it."""
        shown = ", ".join(map(_shown, self.arguments))
        return f"{self.function.contract}.{self.function.name}({shown})"


@attrs.frozen
class Later:
    """A transaction that lacks something which others make, as an invite: `lacks` says what."""

    name: str
    purpose: str
    to: Address
    function: Function
    lacks: str


@attrs.frozen
class Wait:
    """Something that others have to do, or time. `whom`: on whom it waits. `command`: the one
    command which that person runs; empty: there is none. `until_s`: when it ends by itself."""

    name: str
    finding: str
    whom: str
    command: str = ""
    until_s: int = 0


Step = Call | Later | Wait


@attrs.frozen
class Plan:
    """The rest of the way of one account, in order. `notes`: what else its owner should know."""

    account: Address
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ready(self) -> tuple[Call, ...]:
        """What can be sent now: the calls before anything that waits."""
        found: list[Call] = []
        for step in self.steps:
            if not isinstance(step, Call):
                break
            found.append(step)
        return tuple(found)

    @property
    def waits(self) -> Wait | None:
        """The first thing that the way waits for."""
        return next((step for step in self.steps if isinstance(step, Wait)), None)

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every transaction that is known to the last byte."""
        return tuple(step for step in self.steps if isinstance(step, Call))

    @property
    def tokens_wei(self) -> int:
        """The tokens that the whole way takes."""
        return sum(call.tokens_wei for call in self.calls)


def _shown(argument: object) -> str:
    if isinstance(argument, bytes):
        return address_text(argument)
    if isinstance(argument, list | tuple):
        return f"[{', '.join(map(_shown, argument))}]"
    return repr(argument)
