"""Secrets of tasks through pools of real agents."""
