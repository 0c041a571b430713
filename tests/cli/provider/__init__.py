"""A provider's and a manager's life by our commands alone, on a real chain."""
