"""The machine: processors, memory, disk and GPUs, within what the operator lets it offer."""
