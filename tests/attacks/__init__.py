"""What strangers and guests try on a pool of real agents, and what the pool may notice of it."""
