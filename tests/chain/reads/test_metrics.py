"""What the chain costs is shown: calls by method, in `/metrics`."""

from collections import Counter

import trio
from prometheus_client import generate_latest

from p2pool.agent.telemetry.prometheus import Metrics
from p2pool.drivers.chain.rpc import Rpc
from tests.chain.hostile import Chain


def test_calls_are_counted_by_method() -> None:
    """Those of every endpoint together, and of the present run of the agent alone."""
    rpc = Rpc.to(1, ["http://a.example", "http://b.example"])
    for endpoint in rpc.endpoints:
        endpoint.provider = Chain()  # type: ignore[assignment]
    for _ in range(3):
        trio.run(rpc.quantity, "eth_gasPrice")
        rpc.pass_over()
    metrics = Metrics(lambda: 0, lambda: 0)
    metrics.add("chain_calls", lambda: Counter({"eth_old": 1}))
    metrics.add("chain_calls", rpc.calls)
    text = generate_latest(metrics._registry).decode()
    assert 'p2pool_chain_calls_total{event="eth_gasPrice"} 3.0' in text
    assert 'p2pool_chain_calls_total{event="eth_chainId"} 2.0' in text
    assert "eth_old" not in text
