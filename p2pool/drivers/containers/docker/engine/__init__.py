"""How an engine is talked to."""
