"""Tests of commands whose key is elsewhere."""
