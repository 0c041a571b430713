"""Requests in the log: whose they are, and who may make them."""
