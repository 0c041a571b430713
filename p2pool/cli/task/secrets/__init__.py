"""Secrets of tasks: said in flags and files, encrypted, and set anew."""
