"""Scenarios of the committee: its voters, leaders, certificates and epochs."""
