"""Plans of commands: what they cost, what they ask, and that they are what is sent."""
