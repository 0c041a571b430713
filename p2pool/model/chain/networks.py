"""EVM networks that p2pool tells apart."""

DEVELOPMENT_CHAIN_ID = 31337
"""The chain id of development chains: nothing on one is worth anything."""
