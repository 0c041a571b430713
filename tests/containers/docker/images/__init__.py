"""Images on a real engine: how they get there, and how long they stay."""
