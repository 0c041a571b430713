"""What the owner writes into the configuration is what the runtime keeps to."""

from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path
from typing import cast

import pytest
import trio

from p2pool.agent.containers.runtime_choice import settings_of
from p2pool.agent.loop import Loop
from p2pool.agent.observers import sample_machine
from p2pool.core.inputs import HardwareObserved
from p2pool.drivers.config.schema import NetworkConfig, ResourcesConfig, RuntimeConfig
from p2pool.drivers.containers.settings import Settings
from tests.first_run.harness.configuration import config_of


def test_the_networks_of_tasks_are_as_the_owner_says(tmp_path: Path) -> None:
    """Ranges, resolvers and what is opened, with the words for the machine and for its site."""
    network = NetworkConfig(
        subnets=("10.50.0.0/16",),
        resolvers=("10.0.0.2",),
        egress_allow=("192.168.5.0/24", "8.8.8.8", "host", "private"),
    )
    made = settings_of(RuntimeConfig(oci_runtime="runsc"), network, tmp_path)
    assert made.subnets == (IPv4Network("10.50.0.0/16"),)
    assert made.resolvers == (ip_address("10.0.0.2"),)
    assert made.egress_host
    assert made.egress_opened[:2] == (ip_network("192.168.5.0/24"), ip_network("8.8.8.8/32"))
    assert {ip_network("10.0.0.0/8"), ip_network("fc00::/7")} < set(made.egress_opened)
    assert ip_network("169.254.0.0/16") not in made.egress_opened
    assert made.oci_runtime == "runsc"


def test_isolation_is_on_unless_the_owner_turns_it_off(tmp_path: Path) -> None:
    """And then nothing is opened; the defaults of both sides are the same."""
    usual = settings_of(RuntimeConfig(), NetworkConfig(), tmp_path)
    assert (usual.isolation, usual.egress_opened, usual.egress_host) == (True, (), False)
    assert usual.subnets == Settings().subnets
    assert not settings_of(RuntimeConfig(), NetworkConfig(isolation=False), tmp_path).isolation


@pytest.mark.parametrize(
    ("kind", "isolation", "noted"), [("docker", False, True), ("docker", True, False)]
)
async def test_isolation_that_is_off_goes_into_heartbeats(
    kind: str, isolation: bool, noted: bool, tmp_path: Path
) -> None:
    """So that `node show` says it everywhere; first, because a heartbeat cuts the end."""
    config = config_of(
        network=NetworkConfig(isolation=isolation), resources=ResourcesConfig(gpus=0)
    )
    told: list[HardwareObserved] = []

    class Inbox:
        async def put(self, event: HardwareObserved) -> None:
            told.append(event)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sample_machine, config, tmp_path, kind, cast(Loop, Inbox()))
    assert ("isolation is off" in "".join(told[0].notes[:1])) == noted
