"""Effects to drivers: one table, and no decisions.

Nothing here waits: a full driver queue drops and counts what the protocol sends again anyway.
"""

from collections.abc import Callable
from typing import Any

import attrs
import trio

from p2pool.agent.api_port import AgentApi
from p2pool.agent.clock import read_clock
from p2pool.agent.containers.executor import ContainerExecutor
from p2pool.agent.contract_judge import ContractJudge
from p2pool.agent.loop import Loop
from p2pool.agent.streams.role_reader import RoleReader
from p2pool.agent.wire.sealer import Sealer
from p2pool.core import effects as fx
from p2pool.core.effects import AnyEffect
from p2pool.core.inputs import Sealed
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.net.network import Network
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import Malformed
from p2pool.model.messages.registry import Message, Verified

log = get_logger(__name__)
core_log = get_logger("p2pool.core")


@attrs.frozen
class Drivers:
    """The drivers that carry effects out, and the loop that receives the outcomes."""

    sealer: Sealer
    network: Network
    api: AgentApi
    executor: ContainerExecutor
    contract_judge: ContractJudge
    role_reader: RoleReader
    loop: Loop


class EffectRunner:
    """Dispatches one agent's effects to its drivers."""

    def __init__(self, drivers: Drivers) -> None:
        """`handlers` has a row for each class of `core.effects.AnyEffect`."""
        self.invite: Invite | None = None
        self.begins_anew = trio.Event()
        self._drivers = drivers
        self.handlers: dict[type[object], Callable[[Any], None]] = {
            fx.Persist: self._on_persist,
            fx.SendTo: self._on_send_to,
            fx.Publish: self._on_publish,
            fx.Seal: self._on_seal,
            fx.AdmitPeer: self._on_admit_peer,
            fx.LearnPeer: self._on_learn_peer,
            fx.Reply: drivers.api.reply,
            fx.Emit: self._on_emit,
            fx.TakeInvite: self._on_take_invite,
            fx.JudgeContractSignatures: drivers.contract_judge.ask,
            fx.ReadValidatorRole: drivers.role_reader.ask,
            fx.BeginAnew: self._on_begin_anew,
            fx.Log: self._on_log,
            **drivers.executor.handlers,
        }

    def run(self, effect: AnyEffect) -> None:
        """Carry out one effect of a step, after whatever it promises is durable."""
        self.handlers[type(effect)](effect)

    def _on_persist(self, _: fx.Persist) -> None:
        raise AssertionError("a step persists first or not at all")

    def _on_send_to(self, effect: fx.SendTo) -> None:
        if (sealed := self._sealed(effect.message)) is not None:
            self._drivers.network.send(effect.peer_key, sealed.channel, sealed.sealed)

    def _on_publish(self, effect: fx.Publish) -> None:
        if (sealed := self._sealed(effect.message)) is not None:
            self._drivers.network.publish(sealed.channel, sealed.sealed)

    def _on_seal(self, effect: fx.Seal) -> None:
        # A full queue loses the message; whoever needs it asks again.
        if (sealed := self._sealed(effect.message)) is not None:
            self._drivers.loop.offer(Sealed(sealed))

    def _sealed(self, message: Message) -> Verified | None:
        """A message in its envelope. One over its own bounds is a bug of ours, perhaps because of
        what a peer sent; the protocol goes on without it."""
        try:
            return self._drivers.sealer.sealed(message, read_clock())
        except Malformed as error:
            log.error("a message was not sent", kind=type(message).__name__, why=str(error))
            return None

    def _on_admit_peer(self, effect: fx.AdmitPeer) -> None:
        self._drivers.network.set_standing(effect.peer_key, effect.standing)

    def _on_learn_peer(self, effect: fx.LearnPeer) -> None:
        self._drivers.network.learn(effect.peer_key, effect.addresses, effect.source)

    def _on_emit(self, effect: fx.Emit) -> None:
        self._drivers.api.event_hub.emit(effect.event)

    def _on_take_invite(self, effect: fx.TakeInvite) -> None:
        self.invite = effect.invite

    def _on_begin_anew(self, _: fx.BeginAnew) -> None:
        self.begins_anew.set()

    def _on_log(self, effect: fx.Log) -> None:
        getattr(core_log, effect.level.value)(effect.event, **dict(effect.fields))
