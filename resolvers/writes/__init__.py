"""Mutations: what their inputs say, checked, and what they came to; see resolvers/write.py."""
