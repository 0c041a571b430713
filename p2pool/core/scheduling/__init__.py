"""How the scheduler places copies: what nodes have free, and in which order they are taken."""
