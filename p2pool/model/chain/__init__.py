"""Facts from the EVM chain."""
