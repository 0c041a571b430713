"""A simulated pool whose manager is a contract, and a user of it who signs in its name."""

from collections.abc import Callable

import attrs
from eth_account import Account
from eth_account.signers.local import LocalAccount

from p2pool.codec.digests import task_id
from p2pool.codec.spec.spec import spec_json
from p2pool.core import inputs
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.access.verdicts import FinalBlock
from p2pool.model.ids import Address, NodeId, TaskId
from p2pool.model.ports.agent import Accepted, SubmitCommand
from p2pool.model.states import Intent
from p2pool.model.tasks.spec import TaskSpec
from p2pool.wire.typed_data import recover_signers, sign_request
from tests.sim.harness.pool import ENDLESS, FORMED_MS, Pool
from tests.sim.invariants.checks import Checks
from tests.sim.world.machine import ChainView, Machine
from tests.sim.world.world import MANAGER, MANAGER_ADDRESS, POOL, WALL_MS, World

CONTRACT = Address(b"\xc0" * 20)
OWNER = MANAGER
THIEF = Account.from_key(b"\x66" * 32)
FRIEND = Account.from_key(b"\x99" * 32)


def address_of(account: LocalAccount) -> Address:
    return Address(bytes.fromhex(account.address[2:]))


@attrs.define
class Managed:
    """A pool of a contract's, and a user of it who asks in the contract's name."""

    pool: Pool
    asked: int = 1000

    @property
    def world(self) -> World:
        return self.pool.world

    def now_s(self) -> int:
        return (WALL_MS + self.world.now_ms) // 1000

    def request(self, action: Action, target: str = "", text: str = "") -> TaskRequest:
        now_s, name = self.now_s(), self.world.rng.randbytes(32)
        return TaskRequest(action, POOL.pool_id, target, text, name, now_s - 1, now_s + 600)

    def signed(self, request: TaskRequest, by: LocalAccount = OWNER) -> SignedRequest:
        """A request by the contract, as this key has signed it."""
        return attrs.evolve(sign_request(POOL, by, request), contract=CONTRACT)

    def task(self, name: str = "t", by: LocalAccount = OWNER, **spec: object) -> SignedRequest:
        given = {"name": name, "image": "i", "command": ENDLESS} | spec
        text = spec_json(TaskSpec(**given))  # type: ignore[arg-type]
        return self.signed(self.request(Action.SUBMIT, text=text), by)

    def ask(self, at: int, signed: SignedRequest) -> object:
        """What an agent answers."""
        self.asked += 1
        signers = recover_signers(POOL, signed)
        command = SubmitCommand(signed, signers.signer)
        self.world.give(self.world.machines[at], inputs.Asked(self.asked, command, signers))
        return self.pool.reply(self.asked)

    def run(self, signed: SignedRequest, copies: int = 1, at: int = 0) -> TaskId:
        """Have a task accepted, and wait until its copies run."""
        assert isinstance(self.ask(at, signed), Accepted)
        name = task_id(POOL, signed.request)
        self.pool.until(lambda: self.pool.states(name) == ["RUNNING"] * copies)
        return name

    def intent(self, m: Machine, node_id: NodeId) -> Intent:
        assert m.node is not None
        state = m.node.context.pool_log.state
        assert state is not None
        return state.node(node_id).intent

    def knows(self, number: int, name: TaskId) -> bool:
        state = self.pool.node(number).context.pool_log.state
        return state is not None and name in state.tasks

    def block(self) -> FinalBlock:
        """The last final block, as a liar would name it."""
        self.world.chain.look()
        head = self.world.chain.head
        return FinalBlock(head.number, head.name)

    def lie(self, **view: object) -> Callable[[int], None]:
        def tell(number: int) -> None:
            self.world.machines[number].chain = ChainView(**view)  # type: ignore[arg-type]

        return tell

    def settles(self) -> None:
        """Exactly one leads again, and the pool takes what the contract signs."""
        self.pool.until(
            lambda: len([m for m in self.world.machines if m.node and self._leads(m)]) == 1
        )
        self.run(self.task(f"after-{self.asked}"), at=self.pool.leader().number)

    def _leads(self, m: Machine) -> bool:
        return m.node is not None and m.node.context.pool_log.leads


def managed(size: int = 3) -> Managed:
    """A pool that has formed, whose manager and creator is a contract with one owner."""
    world = World(7, size)
    world.manager = CONTRACT
    world.owners[CONTRACT] = MANAGER_ADDRESS
    pool = Pool(7, world, Checks(world), world.rng)
    for number in range(size):
        world.start(number)
    world.run(FORMED_MS)
    return Managed(pool)
