"""Agents of different versions in one pool, in virtual time."""
