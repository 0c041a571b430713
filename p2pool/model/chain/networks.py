"""EVM networks that p2pool distinguishes."""

DEVELOPMENT_CHAIN_ID = 31337
"""The chain id of development chains: nothing on them has value."""
