"""Break-glass: opening a chart in an emergency, and its review by the privacy officer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID, uuid4

from db.caller import Profile
from db.errors import Forbidden, IdempotencyConflict, InvalidArgument
from db.live import Change, Topic
from db.policy import may_break_glass
from db.transaction import Transaction
from loaders.break_glass import (
    BreakGlassRow,
    break_glass,
    break_glass_grant_by_id,
    break_glass_grants,
    review_break_glass,
)
from loaders.write import Refusal, write_once
from resolvers.arguments import resource_id, text
from resolvers.connection import Slice, scope, time_page, time_slice
from resolvers.context import Context
from resolvers.live import events, listening, messages
from resolvers.write import KEY_MAX, Input, Prepared, claim

MINUTES_MAX = 240
"""Minutes that one grant lasts at most."""
GRANTS = "Subscription.breakGlassGrants"
"""What cursors of the subscription are good for."""
REASON_MIN, REASON_MAX, REVIEW_MAX = 10, 500, 2000


async def open_chart(
    context: Context, *, patient: str, reason: str, minutes: int, idempotency_key: str | None
) -> BreakGlassRow:
    """A grant for one patient. Raises Forbidden for who may not, InvalidArgument for a patient who is not there."""
    if not may_break_glass(context.caller):
        raise Forbidden
    if not 1 <= minutes <= MINUTES_MAX:
        raise InvalidArgument("minutes", f"must be from 1 to {MINUTES_MAX}")
    why = text("reason", reason, REASON_MIN, REASON_MAX)
    patient_id = resource_id("patient", patient, "Patient")

    async def change(writing: Transaction) -> UUID:
        if made := await break_glass(writing, patient_id, why, minutes):
            return made
        raise InvalidArgument("patient", "is not a patient of this facility")

    input = {"patient": patient, "reason": why, "minutes": minutes}
    return await _once(context, "breakGlass", idempotency_key, input, change)


async def review(context: Context, *, id: str, review: str, close: bool, idempotency_key: str | None) -> BreakGlassRow:
    """The reviewed grant. Raises Forbidden for who is no privacy officer, InvalidArgument for no open review."""
    _privacy_officer(context)
    words = text("review", review, maximum=REVIEW_MAX)
    grant_id = resource_id("id", id, "BreakGlassGrant")

    async def change(writing: Transaction) -> UUID:
        if reviewed := await review_break_glass(writing, grant_id, words, close):
            return reviewed
        raise InvalidArgument("id", "is not a grant that waits for a review")

    input = {"id": id, "review": words, "close": close}
    return await _once(context, "reviewBreakGlass", idempotency_key, input, change)


async def _once(context: Context, operation: str, key: str | None, input: Input, change: Prepared) -> BreakGlassRow:
    """The grant that a change makes, or made when it came with this key first; without a key it is always new.

    Raises IdempotencyConflict for a key that came with another input, and what the change raises.
    """
    try:
        claimed = claim(context, operation, {**input, "idempotency_key": str(uuid4()) if key is None else key})
    except Refusal:
        raise InvalidArgument("idempotencyKey", f"must have from 1 to {KEY_MAX} ASCII characters, no blanks") from None
    written = await write_once(context.reader, claimed, change)
    if written.errors:
        raise IdempotencyConflict("idempotencyKey", "was used for another input")
    [made] = await context.reader.load_many(break_glass_grant_by_id, [written.id])
    return cast("BreakGlassRow", made)


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
