"""The API, topic by topic: routes, their answers, and how a view becomes an answer."""
