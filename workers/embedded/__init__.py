"""Embedded default of each store: one child process each under one data directory; only here are they known."""
