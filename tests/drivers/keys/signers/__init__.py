"""Tests of where keys are, and of who signs with them."""
