"""A compute pool that needs no server: one agent a machine, a contract says who belongs."""

__version__ = "0.3.0"
