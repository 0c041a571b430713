"""What one pool of three real agents serves: tasks, secrets, delegates, quotas, outsiders."""
