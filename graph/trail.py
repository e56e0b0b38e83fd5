"""The trail: what makes an event of an operation's payload, of a refusal and of a failed login, before it leaves.

The engine's witness and the transports' refusals (graph.execution, graph.request) wait for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from graphql import GraphQLSchema, OperationType

from db.audit import AuditLog, Event, EventKind
from db.caller import Caller
from db.errors import AuditUnavailable, Unauthenticated
from db.postgres import statement_name
from db.seen import Seen
from graph.execution import Operation
from graph.plan import kinds_shown
from graph.request import RequestInfo
from loaders.break_glass import BREAK_GLASS
from resolvers.context import Context

BROKEN = ("clinical", statement_name(BREAK_GLASS))
"""What was sent to the store where somebody broke the glass."""
OK = "OK"
"""Result of an answer without errors."""

_KINDS = {
    OperationType.QUERY: EventKind.QUERY,
    OperationType.MUTATION: EventKind.MUTATION,
    OperationType.SUBSCRIPTION: EventKind.SUBSCRIPTION,
}
_UNAUTHENTICATED = Unauthenticated().code
_AUDIT_UNAVAILABLE = AuditUnavailable().code


class Trail:
    """Turns what the API does into events of one audit log; each method returns when its events are on disk."""

    def __init__(self, log: AuditLog, schema: GraphQLSchema) -> None:
        self._log = log
        self._schema = schema

    def witness(
        self,
        operation: Operation,
        caller: Caller,
        context: Any,
        payload: Mapping[str, Any],
        request: RequestInfo,
        first: bool,
    ) -> Awaitable[None]:
        """Begins to record a payload that is about to leave: an operation's first one, later ones where they show
        more patients or releases. It leaves when what this gives is done, and never where that raises AuditUnavailable.
        """
        reader = context.reader if isinstance(context, Context) else None
        seen = reader.seen if reader else Seen()
        news = dict(seen.news())
        here = news.pop(caller.facility_id, frozenset[UUID]())
        releases = seen.new_releases()
        event = replace(self._event(operation, caller, payload, request, here), releases=releases)
        if reader and BROKEN in reader.statements:
            event = replace(event, kind=EventKind.BREAK_GLASS)
        events = [event] if first or here or releases else []
        if here and caller.home_facility_id:
            events = [replace(event, kind=EventKind.EXCHANGE)]
        return self._log.append(*events, *_beside(event, caller, news, seen))

    async def refused(self, caller: Caller | None, code: str, reason: str | None, request: RequestInfo) -> None:
        """Records a request that is refused as a whole; without a good token it is a failed login."""
        if code == _AUDIT_UNAVAILABLE:
            return
        failed_login = caller is None and code == _UNAUTHENTICATED
        await self._log.append(
            Event(
                kind=EventKind.LOGIN_FAILED if failed_login else EventKind.REFUSAL,
                result=reason or code,
                request_id=request.request_id,
                caller=caller,
                client_ip=request.client_ip,
                user_agent=request.user_agent,
            )
        )

    def _event(
        self,
        operation: Operation,
        caller: Caller,
        payload: Mapping[str, Any],
        request: RequestInfo,
        patients: frozenset[UUID],
    ) -> Event:
        """The event of a payload for the caller's facility, where these patients were seen."""
        shown, masked = kinds_shown(self._schema, operation.document.whole, operation.name, caller)
        errors = payload.get("errors")
        answered = "data" in payload or "hasNext" in payload
        return Event(
            kind=_KINDS[operation.node.operation] if answered else EventKind.REFUSAL,
            result=errors[0]["extensions"]["code"] if errors else OK,
            request_id=request.request_id,
            caller=caller,
            document=operation.document.digest,
            shown=shown if answered else frozenset(),
            masked=masked if answered else frozenset(),
            patients=patients,
            client_ip=request.client_ip,
            user_agent=request.user_agent,
        )


def _beside(event: Event, caller: Caller, news: Mapping[UUID, frozenset[UUID]], seen: Seen) -> Iterator[Event]:
    """Events beside the one for the caller's facility: for each other whose records were read, and for presigned URLs.

    Each has an id of its own, so that the log tells a retry from another event.
    """
    for facility_id, patients in news.items():
        away = replace(caller, facility_id=facility_id, home_facility_id=caller.facility_id)
        exchange = replace(event, id=uuid4(), kind=EventKind.EXCHANGE, caller=away)
        yield replace(exchange, patients=patients, releases=frozenset())
    presigned = seen.new_releases_presigned()
    if seen.new_urls():
        patients = seen.of(caller.facility_id)
        yield replace(event, id=uuid4(), kind=EventKind.PRESIGN, patients=patients, releases=presigned)
