"""Writes of callers: statements, and the rules that need the data; see loaders/write.py."""
