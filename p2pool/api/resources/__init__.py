"""What the API answers, topic by topic: the route, its answer, and how a view becomes it."""
