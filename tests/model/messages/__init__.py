"""Messages between agents, as they are declared."""
