"""A validator's process, and a pool of real agents whose GPUs it challenges."""
