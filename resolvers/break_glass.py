"""Break-glass: opening a chart in an emergency, and its review by the privacy officer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

from db.caller import Profile
from db.errors import Forbidden, InvalidArgument
from db.policy import may_break_glass
from loaders.break_glass import (
    BreakGlassRow,
    break_glass,
    break_glass_grant_by_id,
    break_glass_grants,
    review_break_glass,
)
from resolvers.arguments import resource_id, text
from resolvers.connection import Slice, link, scope, time_page, time_slice
from resolvers.context import Context

MINUTES_MAX = 240
"""Minutes that one grant lasts at most."""
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
class Granted:
    """That a glass was broken; the grant itself is read with the rights of the moment in which it is told."""

    grant_id: UUID


async def granted(context: Context) -> AsyncGenerator[Granted, None]:
    """Every grant of the facility from now on. Raises Forbidden for who is no privacy officer."""
    _privacy_officer(context)
    return _granted(context.reader.notifications("break_glass"), str(context.caller.facility_id))


async def _granted(messages: AsyncGenerator[str, None], facility_id: str) -> AsyncGenerator[Granted, None]:
    async with aclosing(messages):
        async for message in messages:
            at, _, grant_id = message.partition(" ")
            if at == facility_id:
                yield Granted(UUID(grant_id))


grant = link(break_glass_grant_by_id, "grant_id")


def _privacy_officer(context: Context) -> None:
    if context.caller.profile is not Profile.PRIVACY_OFFICER:
        raise Forbidden
