"""The nemesis, and the proxies through which it reaches agents and chain."""
