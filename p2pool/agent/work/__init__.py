"""What the tasks of this machine have done, on its way to the chain."""
