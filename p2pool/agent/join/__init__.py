"""This machine's way into the pool: its qualification, then the chain."""
