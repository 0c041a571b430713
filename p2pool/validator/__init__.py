"""The validator: a process of its own that has nodes prove what they claim."""
