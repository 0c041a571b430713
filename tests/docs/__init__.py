"""Tests of the documents: what they tell a reader to type, and where they point."""
