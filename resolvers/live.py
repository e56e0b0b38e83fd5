"""What subscriptions share: who is told what, and from where a client goes on after it was cut off."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

import orjson

from db.errors import CursorExpired, InvalidCursor
from db.feed import Event, Place
from db.live import Change, Listener, Topic
from resolvers.connection import Scope, scope
from resolvers.context import Context

RESUMED_WITHIN = timedelta(hours=12)
"""Age of a cursor from which a subscription goes on; days of the feed are kept longer."""


class Told(Protocol):
    """An event of a subscription, before it is a message."""

    async def told(self, context: Context) -> bool:
        """Reads what the message shows, with the rights of this moment; False where there is nothing to tell.

        Raises AppError where the caller may not be told any more: the subscription ends with it.
        """
        ...


M = TypeVar("M", bound=Told)


async def listening(context: Context, field: str, topics: Mapping[str, Topic], after: str | None) -> Listener:
    """Hears a topic of each database, from now on or after a cursor.

    Raises InvalidCursor, CursorExpired, StoreError.
    """
    since = places(context, field, after)
    listener = context.reader.listener()
    try:
        for database, topic in topics.items():
            await listener.hear(database, topic, since.get(database))
    except BaseException:
        listener.close()
        raise
    return listener


async def messages(
    listener: Listener, context: Context, field: str, message: Callable[[Change, str], M]
) -> AsyncGenerator[M, None]:
    """A message for each change, with the cursor behind it; `field` and facility are what cursors are good for."""
    signer = scope(context, field)
    try:
        while True:
            change = await listener.change()
            yield message(change, _cursor(signer, change))
    finally:
        listener.close()


def places(context: Context, field: str, after: str | None) -> Mapping[str, Place]:
    """Places of a cursor by database, none without one. Raises InvalidCursor, CursorExpired."""
    if after is None:
        return {}
    made_at, kept = scope(context, field).verify(after, 2)
    try:
        if datetime.now(UTC) - datetime.fromisoformat(made_at) > RESUMED_WITHIN:
            raise CursorExpired("after")
        return {database: Place(*place) for database, place in orjson.loads(kept).items()}
    except ValueError:
        raise InvalidCursor("after") from None


def _cursor(signer: Scope, change: Change) -> str:
    kept = {database: (place.done, place.reading, place.seq) for database, place in change.places.items()}
    return signer.sign(datetime.now(UTC).isoformat(timespec="seconds"), orjson.dumps(kept).decode())


def events(change: Change) -> Iterator[Event]:
    """Events of all databases."""
    for of_database in change.events.values():
        yield from of_database
