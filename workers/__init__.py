"""Processes beside the API: import, demo, embedded stores, lifecycle."""
