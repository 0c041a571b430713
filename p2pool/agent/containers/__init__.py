"""Carries out the worker's effects on the container engine, and reports the outcomes."""
