"""Relay's connection types, for any node (Relay Cursor Connections Specification)."""

from __future__ import annotations

from typing import Generic, TypeVar

import strawberry

from graph.field import field

T = TypeVar("T")


@strawberry.type(description="Where a page lies in its list")
class PageInfo:
    """Served from a Slice."""

    has_next_page: bool = field("Whether there are entries after this page", phi=None, value=lambda s: s.has_next)
    has_previous_page: bool = field(
        "Whether there are entries before this page", phi=None, value=lambda s: s.has_previous
    )
    start_cursor: str | None = field(
        "Cursor of the first entry", phi=None, value=lambda s: s.cursor(s.rows[0]) if s.rows else None
    )
    end_cursor: str | None = field(
        "Cursor of the last entry", phi=None, value=lambda s: s.cursor(s.rows[-1]) if s.rows else None
    )


@strawberry.type(description="An entry of a list with its cursor")
class Edge(Generic[T]):
    """Served from a pair of cursor and row."""

    cursor: str = field("Opaque place of the entry in its list", phi=None, value=lambda edge: edge[0])
    node: T = field("Entry itself", phi=None, value=lambda edge: edge[1])


@strawberry.type(description="A page of a list")
class Connection(Generic[T]):
    """Served from a Slice."""

    edges: list[Edge[T]] = field("Entries with their cursors", phi=None, value=lambda page: page.edges())
    nodes: list[T] = field("Entries alone", phi=None, value=lambda page: page.rows)
    page_info: PageInfo = field("Where the page lies in its list", phi=None, value=lambda page: page)
