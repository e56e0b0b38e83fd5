"""Mutations as a client sees them: inputs, payloads, root fields; see graph/write.py."""
