"""An agent's reports on its tasks and on itself: log lines, metrics."""
