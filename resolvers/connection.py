"""Relay connections over rows in time order: pages from arguments, opaque signed cursors, one slice for each parent."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import UUID

from db.errors import InvalidCursor
from loaders.element import fhir_name
from loaders.page import LAST_ID, LAST_TIME, Timed, TimePage
from loaders.reader import Batch
from resolvers.arguments import codes, page_size, time_range
from resolvers.context import Context

R = TypeVar("R", bound=Timed)
T = TypeVar("T")

TimeBatch: TypeAlias = Callable[..., Awaitable[Mapping[UUID, Sequence[Any]]]]
"""`async def name(reader, parent_ids, page, *filters)` -> one row more than the page for each parent."""
Check: TypeAlias = Callable[[str, Any], object]
"""From an argument's name and value to what the batch function takes; raises InvalidArgument."""

CURSOR_MAX = 4000
"""Characters of a cursor; one of a subscription names the transactions that were open at its moment."""
_MAC = 16
"""Bytes of a cursor's truncated HMAC-SHA-256."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a cursor is good for: one field, one facility."""

    key: bytes
    field: str
    facility_id: UUID

    def sign(self, *position: str) -> str:
        """Opaque cursor of a position."""
        payload = "\n".join(position).encode()
        return _text(self._mac(payload) + payload)

    def verify(self, cursor: str, length: int) -> Sequence[str]:
        """Position of a cursor that `sign` made for this scope. Raises InvalidCursor for any other."""
        if len(cursor) > CURSOR_MAX or not cursor.isascii():
            raise InvalidCursor("after")
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise InvalidCursor("after") from None
        mac, payload = raw[:_MAC], raw[_MAC:]
        # Base64 has several texts for the same bytes: only the one that was given out is good.
        if not hmac.compare_digest(mac, self._mac(payload)) or _text(raw) != cursor:
            raise InvalidCursor("after", "is forged, damaged or of another list")
        position = payload.decode().split("\n")
        if len(position) != length:
            raise InvalidCursor("after")
        return position

    def _mac(self, payload: bytes) -> bytes:
        bound = f"{self.facility_id}\n{self.field}\n".encode() + payload
        return hmac.digest(self.key, bound, hashlib.sha256)[:_MAC]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def scope(context: Context, field: str) -> Scope:
    """Scope of the cursors of a field, for this request's facility."""
    return Scope(context.cursor_key, field, context.caller.facility_id)


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """One parent's page: its rows, and whether there are more before and after it.

    `cursor` signs the place of one row: most clients ask for the last one only, or for none.
    """

    rows: Sequence[T]
    cursor: Callable[[T], str]
    has_next: bool
    has_previous: bool

    def edges(self) -> list[tuple[str, T]]:
        """Each row with its cursor."""
        return [(self.cursor(row), row) for row in self.rows]


def time_page(
    context: Context, field: str, first: int, after: str | None, start: str | None = None, end: str | None = None
) -> TimePage:
    """Page of the arguments first, after, from and to. Raises InvalidArgument or InvalidCursor naming the argument."""
    size = page_size("first", first)
    since, until = time_range(start, end)
    before_time, before_id = LAST_TIME, LAST_ID
    if after is not None:
        time, key = scope(context, field).verify(after, 2)
        before_time, before_id = datetime.fromisoformat(time), UUID(key)
    return TimePage(size, before_time, before_id, since, until)


def slices(
    context: Context, field: str, page: TimePage, parent_ids: Sequence[UUID], found: Mapping[UUID, Sequence[R]]
) -> list[Slice[R]]:
    """One slice for each parent, in the parents' order, of what a `newest…` batch function found."""
    signer = scope(context, field)
    return [time_slice(signer, page, found.get(parent_id, ())) for parent_id in parent_ids]


def time_slice(signer: Scope, page: TimePage, rows: Sequence[R]) -> Slice[R]:
    """Slice of rows of which one too many was asked for."""
    shown = rows[: page.first]
    continued = page.before_time != LAST_TIME or page.before_id != LAST_ID
    return Slice(
        shown, lambda row: signer.sign(row.sort_time.isoformat(), str(row.id)), len(rows) > page.first, continued
    )


@dataclass(frozen=True, slots=True, eq=False)
class Pages:
    """Batch resolver of a connection: a page of rows in time order for each parent; see `relation`."""

    field: str
    batch: TimeBatch
    key: str
    checks: Mapping[str, Check]

    async def __call__(self, context: Context, parents: Sequence[Any], **arguments: Any) -> Sequence[Any]:
        page, filters = self.asked(context, **arguments)
        ids = [getattr(parent, self.key) for parent in parents]
        return slices(context, self.field, page, ids, await self.batch(context.reader, ids, page, *filters))

    def asked(
        self,
        context: Context,
        *,
        first: int,
        after: str | None,
        start: str | None = None,
        end: str | None = None,
        **filters: Any,
    ) -> tuple[TimePage, Sequence[object]]:
        """The page, and what the batch function takes after it. Raises InvalidArgument and InvalidCursor."""
        page = time_page(context, self.field, first, after, start, end)
        return page, _checked(self.checks, filters)


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """Batch resolver of a list: all rows that a batch function finds for each parent; see `listing`."""

    batch: TimeBatch
    checks: Mapping[str, Check]

    async def __call__(self, context: Context, parents: Sequence[Any], **filters: Any) -> Sequence[object]:
        ids = list(dict.fromkeys(parent.id for parent in parents))
        found = await self.batch(context.reader, ids, *self.asked(filters))
        return [found.get(parent.id, ()) for parent in parents]

    def asked(self, filters: Mapping[str, Any]) -> Sequence[object]:
        """What the batch function takes after the ids. Raises InvalidArgument."""
        return _checked(self.checks, filters)


@dataclass(frozen=True, slots=True, eq=False)
class Linked:
    """Batch resolver of a relation without arguments: what a batch function finds for the parent's attribute `key`."""

    batch: Batch[UUID, Any]
    key: str

    async def __call__(self, context: Context, parents: Sequence[Any]) -> Sequence[Any]:
        return await context.reader.load_many(self.batch, [getattr(parent, self.key) for parent in parents])


def _checked(checks: Mapping[str, Check], filters: Mapping[str, Any]) -> Sequence[object]:
    """Filters in the order of their checks, each named as the client names it: `physical_type` is `physicalType`."""
    return [check(fhir_name(name), filters.get(name)) for name, check in checks.items()]


def relation(field: str, batch: TimeBatch, key: str = "id", **checks: Check) -> Pages:
    """Batch resolver of a connection: `field` names it for cursors, `key` is the parent's attribute to find it by.

    Each check validates one filter argument, in the order in which the batch function takes them.
    """
    return Pages(field, batch, key, checks)


def listing(batch: TimeBatch, **checks: Check) -> Lists:
    """Batch resolver of a list of each parent; checks as in `relation`."""
    return Lists(batch, checks)


def link(batch: Batch[UUID, Any], key: str) -> Linked:
    """Batch resolver of a to-one relation: the row whose id is the parent's attribute `key`."""
    return Linked(batch, key)


def one_of(*allowed: str) -> Check:
    """Check of a filter argument by a value set."""
    return lambda name, values: codes(name, values, allowed)
