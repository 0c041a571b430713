"""Whatever the core wants done has somebody who does it."""

from pathlib import Path
from typing import cast, get_args
from unittest.mock import Mock, create_autospec

import pytest

from p2pool.agent.api_port import AgentApi
from p2pool.agent.containers.executor import ContainerExecutor
from p2pool.agent.contract_judge import ContractJudge
from p2pool.agent.effect_runner import Drivers, EffectRunner
from p2pool.agent.loop import Loop
from p2pool.agent.streams.role_reader import RoleReader
from p2pool.agent.telemetry.prometheus import Metrics
from p2pool.agent.telemetry.task_metrics import TaskMetrics
from p2pool.agent.wire.sealer import Sealer
from p2pool.core import effects as fx
from p2pool.core.effects import AnyEffect
from p2pool.drivers.net.network import Network
from p2pool.model.errors import Malformed, P2poolError
from p2pool.model.ids import PeerKey
from p2pool.model.messages.queries import Ping
from p2pool.model.ports.runtime import ContainerRuntime


@pytest.fixture
def drivers(tmp_path: Path) -> Drivers:
    """Drivers that note what they are told, and refuse what the real ones would not take."""
    loop, metrics = create_autospec(Loop, instance=True), Metrics(lambda: 0, lambda: 0)
    return Drivers(
        *(create_autospec(Sealer, instance=True), create_autospec(Network, instance=True)),
        create_autospec(AgentApi, instance=True),
        ContainerExecutor(
            create_autospec(ContainerRuntime, instance=True), loop, TaskMetrics(tmp_path), metrics
        ),
        create_autospec(ContractJudge, instance=True),
        create_autospec(RoleReader, instance=True),
        loop,
    )


def test_every_effect_has_a_handler(drivers: Drivers) -> None:
    """No effect falls through, and no handler is left over from one that is gone."""
    assert set(EffectRunner(drivers).handlers) == set(get_args(AnyEffect))


def test_an_effect_goes_to_its_own_driver(drivers: Drivers) -> None:
    """An address goes to the network, and an answer to the API."""
    runner = EffectRunner(drivers)
    reply = fx.Reply(1, P2poolError("no"))
    runner.run(fx.LearnPeer(PeerKey(b"1" * 32), ("/ip4/1.2.3.4/tcp/1",)))
    runner.run(reply)
    learn = cast(Mock, drivers.network.learn)
    learn.assert_called_once_with(PeerKey(b"1" * 32), ("/ip4/1.2.3.4/tcp/1",), None)
    cast(Mock, drivers.api.reply).assert_called_once_with(reply)


def test_a_message_over_its_bounds_ends_no_agent(drivers: Drivers) -> None:
    """What a peer sent may have made it so long: it is not sent, and the rest goes on."""
    runner, ping = EffectRunner(drivers), Ping(1)
    cast(Mock, drivers.sealer.sealed).side_effect = Malformed("It is too long.")
    runner.run(fx.Publish(ping))
    runner.run(fx.Seal(ping))
    runner.run(fx.SendTo(PeerKey(b"1" * 32), ping))
    cast(Mock, drivers.network.publish).assert_not_called()
    cast(Mock, drivers.network.send).assert_not_called()
    cast(Mock, drivers.loop.offer).assert_not_called()


def test_what_was_to_be_kept_first_is_not_kept_late(drivers: Drivers) -> None:
    """A `Persist` among the rest means that promises went out before it."""
    with pytest.raises(AssertionError, match="first or not at all"):
        EffectRunner(drivers).run(fx.Persist(()))


def test_a_run_that_has_to_end_says_so(drivers: Drivers) -> None:
    """Whoever lives with the store waits for that, as for a store that failed."""
    runner = EffectRunner(drivers)
    assert not runner.begins_anew.is_set()
    runner.run(fx.BeginAnew())
    assert runner.begins_anew.is_set()
