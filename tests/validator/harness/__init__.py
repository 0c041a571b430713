"""Nodes in virtual time, honest and not, for tests of the validator."""
