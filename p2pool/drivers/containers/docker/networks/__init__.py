"""The network of each task on this machine: its addresses, its holder, and what it may reach."""
