"""Break-glass: opening a chart in an emergency, and its review by the privacy officer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from uuid import UUID

from db.caller import Profile
from db.errors import Forbidden, InvalidArgument
from db.live import Change, Topic
from db.policy import may_break_glass
from loaders.break_glass import (
    BreakGlassRow,
    break_glass,
    break_glass_grant_by_id,
    break_glass_grants,
    review_break_glass,
)
from resolvers.arguments import resource_id, text
from resolvers.connection import Slice, scope, time_page, time_slice
from resolvers.context import Context
from resolvers.live import events, listening, messages

MINUTES_MAX = 240
"""Minutes that one grant lasts at most."""
GRANTS = "Subscription.breakGlassGrants"
"""What cursors of the subscription are good for."""
REASON_MIN, REASON_MAX, REVIEW_MAX = 10, 500, 2000


async def open_chart(context: Context, *, patient: str, reason: str, minutes: int) -> BreakGlassRow:
    """A grant for one patient. Raises Forbidden for who may not, InvalidArgument for a patient who is not there."""
    if not may_break_glass(context.caller):
        raise Forbidden
    if not 1 <= minutes <= MINUTES_MAX:
        raise InvalidArgument("minutes", f"must be from 1 to {MINUTES_MAX}")
    why = text("reason", reason, REASON_MIN, REASON_MAX)
    grant = await break_glass(context.reader, resource_id("patient", patient, "Patient"), why, minutes)
    if grant is None:
        raise InvalidArgument("patient", "is not a patient of this facility")
    return grant


async def review(context: Context, *, id: str, review: str, close: bool) -> BreakGlassRow:
    """The reviewed grant. Raises Forbidden for who is no privacy officer, InvalidArgument for no open review."""
    _privacy_officer(context)
    words = text("review", review, maximum=REVIEW_MAX)
    grant = await review_break_glass(context.reader, resource_id("id", id, "BreakGlassGrant"), words, close)
    if grant is None:
        raise InvalidArgument("id", "is not a grant that waits for a review")
    return grant


async def grants(context: Context, *, first: int, after: str | None, unreviewed: bool) -> Slice[BreakGlassRow]:
    """Grants of the facility, newest first. Raises Forbidden for who is no privacy officer."""
    _privacy_officer(context)
    page = time_page(context, "Query.breakGlassGrants", first, after)
    rows = await break_glass_grants(context.reader, page, unreviewed)
    return time_slice(scope(context, "Query.breakGlassGrants"), page, rows)


@dataclass(frozen=True, slots=True)
class GrantsChange:
    """That grants were made, reviewed or closed."""

    change: Change
    cursor: str
    grants: list[BreakGlassRow] = field(default_factory=list[BreakGlassRow])

    async def told(self, context: Context) -> bool:
        """Reads the grants as they are now. Raises Forbidden for who is no privacy officer any more."""
        _privacy_officer(context)
        keys = dict.fromkeys(UUID(key) for event in events(self.change) for key in event.row_keys)
        found = await context.reader.load_many(break_glass_grant_by_id, list(keys))
        self.grants.extend(row for row in found if row is not None)
        return bool(self.grants)


async def changed(context: Context, *, after: str | None) -> AsyncGenerator[GrantsChange, None]:
    """Grants of the facility as they change. Raises Forbidden for who is no privacy officer, CursorExpired."""
    _privacy_officer(context)
    topic = Topic(context.caller.facility_id, tables=frozenset({"break_glass_grant"}))
    listener = await listening(context, GRANTS, {"clinical": topic}, after)
    return messages(listener, context, GRANTS, GrantsChange)


def _privacy_officer(context: Context) -> None:
    if context.caller.profile is not Profile.PRIVACY_OFFICER:
        raise Forbidden
