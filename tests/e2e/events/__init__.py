"""Who is told of events by a real pool misses none."""
