"""Plans of what is sent to the chain: pure, from facts that are absent, present or unknown."""
