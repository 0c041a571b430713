"""What an agent tells of its tasks and of itself: log lines, metrics."""
