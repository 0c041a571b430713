"""Chains that have a name: their ids, and endpoints that anybody may ask.

A public endpoint is a beginning: it limits how much it is asked, and one that lies is found out
only by another one. So each chain has two of different owners, and `p2pool agent check` says how
they answer. Contracts are nobody's preset: a deployment is chosen by who joins it.
"""

from collections.abc import Mapping

import attrs


@attrs.frozen(kw_only=True)
class ChainPreset:
    """A chain by its name. `confirmations`: None: the configuration's default."""

    id: int
    title: str
    endpoints: tuple[str, ...]
    confirmations: int | None = None


PRESETS: Mapping[str, ChainPreset] = {
    "ethereum": ChainPreset(
        id=1,
        title="Ethereum",
        endpoints=("https://ethereum-rpc.publicnode.com", "https://eth.llamarpc.com"),
    ),
    "sepolia": ChainPreset(
        id=11_155_111,
        title="Sepolia, Ethereum's test chain",
        endpoints=("https://ethereum-sepolia-rpc.publicnode.com", "https://rpc.sepolia.org"),
    ),
    "base": ChainPreset(
        id=8453,
        title="Base",
        endpoints=("https://mainnet.base.org", "https://base-rpc.publicnode.com"),
        confirmations=5,
    ),
    "base-sepolia": ChainPreset(
        id=84_532,
        title="Base's test chain",
        endpoints=("https://sepolia.base.org", "https://base-sepolia-rpc.publicnode.com"),
        confirmations=5,
    ),
    "optimism": ChainPreset(
        id=10,
        title="OP Mainnet",
        endpoints=("https://mainnet.optimism.io", "https://optimism-rpc.publicnode.com"),
        confirmations=5,
    ),
    "arbitrum": ChainPreset(
        id=42_161,
        title="Arbitrum One",
        endpoints=("https://arb1.arbitrum.io/rpc", "https://arbitrum-one-rpc.publicnode.com"),
        confirmations=40,
    ),
    "local": ChainPreset(
        id=31_337, title="a development chain here", endpoints=("http://127.0.0.1:8545",)
    ),
}
