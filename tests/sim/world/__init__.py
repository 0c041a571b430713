"""Machines, disks, engines, a network and a chain in virtual time."""
