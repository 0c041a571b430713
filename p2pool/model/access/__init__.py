"""Statements that accounts sign: requests, delegations, grants."""
