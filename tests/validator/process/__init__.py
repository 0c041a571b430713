"""The validator's process."""
