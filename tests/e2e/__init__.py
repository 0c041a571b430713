"""Whole pools of real processes, on a real chain and a real Docker Engine."""
