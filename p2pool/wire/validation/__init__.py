"""Signatures of a validation: the node's under its answers, the validator's under its evidence."""
