"""Keys, configuration and logs: bad files give clear errors, and secrets stay where they are."""
