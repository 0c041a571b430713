"""Has the chain asked who is a validator, for the core: what it asks comes back as an input.

Invariants: each question has one answer, whatever the endpoints do; what finds no room, or nobody
answers in time, is answered with *unknown*; few questions are under way at a time. Who may make
this agent ask, and how often, the core has settled before (`core.knowledge.validator_roles`).
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from p2pool.core.effects import ReadValidatorRole
from p2pool.core.inputs import ValidatorRoleRead
from p2pool.drivers.agent_log import get_logger
from p2pool.model import limits
from p2pool.model.errors import P2poolError
from p2pool.model.ids import Address

log = get_logger(__name__)

AsksRole = Callable[[Address], Awaitable[bool]]
"""Whether an account is a validator at a final block. ChainUnavailable: nobody says."""


class Inbox(Protocol):
    """Receives the answers: an agent's loop."""

    async def put(self, event: ValidatorRoleRead) -> None:
        """Queue an input; waits for room."""
        ...

    def offer(self, event: ValidatorRoleRead) -> bool:
        """Queue an input if there is room."""
        ...


class RoleReader:
    """The questions of one agent."""

    def __init__(self, inbox: Inbox) -> None:
        """Nothing is asked before `run`."""
        self._inbox = inbox
        self._send, self._receive = trio.open_memory_channel[Address](limits.ROLE_ASKS_QUEUED_MAX)

    def ask(self, effect: ReadValidatorRole) -> None:
        """Ask for the core."""
        try:
            self._send.send_nowait(effect.account)
        except trio.WouldBlock:
            self._inbox.offer(ValidatorRoleRead(effect.account, None))

    async def run(self, asks: AsksRole) -> None:
        """Ask what the core wants to know, until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(limits.ROLE_ASKS_IN_FLIGHT_MAX):
                nursery.start_soon(self._answer, asks)

    async def _answer(self, asks: AsksRole) -> None:
        async for account in self._receive:
            holds: bool | None = None
            try:
                with trio.move_on_after(limits.VALIDATOR_ROLE_ASKED_MAX_MS / 1000):
                    holds = await asks(account)
            except P2poolError as error:
                log.debug("nobody says who is a validator", why=error.message)
            await self._inbox.put(ValidatorRoleRead(account, holds))
