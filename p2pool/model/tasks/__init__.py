"""A task's specification, and how its copies end."""
