"""Agents of different versions in one pool of real processes."""
