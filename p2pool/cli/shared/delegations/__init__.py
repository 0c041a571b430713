"""Delegations as people see them: the file that holds one, and its words."""
