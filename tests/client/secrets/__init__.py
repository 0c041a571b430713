"""What submitters encrypt."""
