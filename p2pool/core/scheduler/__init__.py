"""Which node a copy of a task runs on."""
