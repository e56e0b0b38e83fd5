"""What messages of subscriptions share."""

from __future__ import annotations

import strawberry

from graph.field import arg, field

AFTER = arg("after", str | None, "Cursor of the last message that was taken: nothing after it is missed", phi=None)
"""Argument of every subscription that can be resumed."""


@strawberry.type(description="What every message of a subscription tells")
class Change:
    """A message that is served from an event of resolvers.live."""

    cursor: str = field("Place behind this message, from which a subscription goes on for 12 hours", phi=None)
