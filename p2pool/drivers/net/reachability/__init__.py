"""How others can reach this machine."""
