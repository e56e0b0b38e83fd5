"""Ids that are derived from what a thing is called: whoever makes it, makes the same."""

from __future__ import annotations

from uuid import UUID, uuid5

NAMESPACE = UUID("6c8f3c0e-5d0b-5c1a-9b0e-0f4f6d5b7a21")
"""Namespace of every derived id; never changes, or a second import would double the first."""


def derived_id(*parts: str | None) -> UUID:
    """Id derived from parts, the same on every run; parts never run into each other."""
    return uuid5(NAMESPACE, "\x1f".join(part or "" for part in parts))
