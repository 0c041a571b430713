"""Pools that named scenarios start from."""
