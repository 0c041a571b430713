"""A leader proposes nothing of which a part would do nothing, whoever let the request in."""

from p2pool.core import inputs
from p2pool.model.access.requests import Action, Signers, TaskRequest
from p2pool.model.errors import BadSpec
from p2pool.model.ports.agent import Accepted, SubmitCommand
from p2pool.wire.typed_data import sign_request
from tests.sim.harness.pool import Pool, formed
from tests.sim.world.world import MANAGER, MANAGER_ADDRESS, POOL, WALL_MS


def ask(pool: Pool, number: int, text: str) -> object:
    """What a node answers that is asked past the API."""
    now_s = (WALL_MS + pool.world.now_ms) // 1000
    name = number.to_bytes(32, "big")
    request = TaskRequest(Action.SUBMIT, POOL.pool_id, "", text, name, now_s - 1, now_s + 600)
    command = SubmitCommand(sign_request(POOL, MANAGER, request), MANAGER_ADDRESS)
    asked = inputs.Asked(number, command, Signers(MANAGER_ADDRESS))
    pool.world.give(pool.world.machines[0], asked)
    return pool.reply(number)


def test_a_task_that_names_secrets_is_not_proposed() -> None:
    """It could not start. The same task without them runs."""
    pool = formed(3, 7)
    refused = ask(pool, 1001, '{"image":"i","name":"a","secrets":["token"]}')
    assert isinstance(refused, BadSpec), refused
    assert "secrets has names and no values" in str(refused)
    assert isinstance(ask(pool, 1002, '{"image":"i","name":"a"}'), Accepted)
