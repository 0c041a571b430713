"""The commands below `p2pool agent`."""
