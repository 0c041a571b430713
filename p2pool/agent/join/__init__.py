"""How this machine gets into the pool: its qualification, then the chain."""
