"""What a task is, and how its copies end."""
