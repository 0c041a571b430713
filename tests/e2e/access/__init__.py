"""Tests of who may use a real pool, and from where."""
