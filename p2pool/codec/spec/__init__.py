"""The specification of a task, as people write it."""
