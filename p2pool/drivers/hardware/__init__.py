"""The machine: processors, memory, disk and GPUs, cut to what the operator lets it offer."""
