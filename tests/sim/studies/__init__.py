"""Measurements over many seeds: elections, false positives of the failure detector."""
