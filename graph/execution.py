"""Engine: operations executed whole, in deferred payloads, or for each event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Protocol, TypeVar, cast

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
    get_variable_values,
)
from graphql.execution import Executor, create_source_event_stream
from graphql.execution.incremental import IncrementalExecutor
from graphql.execution.values import VariableValues

from db.caller import Caller
from db.errors import PersistedQueryNotFound
from db.policy import view_of
from graph.admission import Deadline
from graph.compiled import Fault, Shape, compiled
from graph.cost import check_cost
from graph.document import Document, DocumentCache
from graph.errors import (
    FormattedError,
    described,
    execution_errors,
    request_error,
    variable_error,
)
from graph.level import Run
from graph.limits import check_variables
from graph.payload import parts, whole
from graph.request import Asked, RequestInfo
from graph.trusted import Documents

T = TypeVar("T")

SHAPES_MAX = 32
"""Compiled operations that are kept of one document."""

TURNS = 2
"""Of the event loop, until what the witness sends to the database is on its way."""

_EXECUTOR: Any = IncrementalExecutor
"""Typed loosely, because graphql-core leaves type arguments of its signature out."""


class AccessPlan(Protocol):
    """What an operation may show to its caller."""

    @property
    def masked(self) -> Sequence[Mapping[str, Any]]:
        """Masked fields, as `extensions.phi` lists them."""
        ...


class Planner(Protocol):
    """Makes the access plan of an operation; variables come coerced, with their defaults."""

    def __call__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        operation_name: str | None,
        variables: Mapping[str, Any],
        caller: Caller,
    ) -> AccessPlan:
        """The plan. Raises PhiFilterForbidden where an argument binds a value that the caller may not read."""
        ...


@dataclass(frozen=True, slots=True)
class Operation:
    """The operation of a document that a request asks for."""

    document: Document
    node: OperationDefinitionNode

    @property
    def name(self) -> str | None:
        """Name in the document; None for the anonymous operation."""
        return self.node.name.value if self.node.name else None

    @property
    def is_query(self) -> bool:
        """Whether it only reads."""
        return self.node.operation is OperationType.QUERY

    @property
    def is_incremental(self) -> bool:
        """Whether its document may be answered in parts: it has @defer or @stream."""
        return self.document.incremental is not self.document.whole

    @property
    def is_subscription(self) -> bool:
        """Whether it waits for events."""
        return self.node.operation is OperationType.SUBSCRIPTION


class Witness(Protocol):
    """Sees every payload before it is sent."""

    def __call__(
        self,
        operation: Operation,
        caller: Caller,
        context: Any,
        payload: Mapping[str, Any],
        request: RequestInfo,
        first: bool,
    ) -> Awaitable[None]:
        """Begins to record a payload. What it gives is done when the payload may leave, and raises AppError,
        AuditUnavailable above all, where no data may. `first` tells the operation's first payload (each event of a
        subscription is one); the session of `context` may be over already.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Asked:
    """One operation as one caller asks for it."""

    operation: Operation
    document: DocumentNode
    variables: dict[str, Any]
    caller: Caller
    request: RequestInfo

    @property
    def is_compiled(self) -> bool:
        """Whether it is for the compiled execution: a query, all at once, of data."""
        whole = self.document is self.operation.document.whole
        return self.operation.is_query and whole and not self.operation.document.introspects


def _asked(
    operation: Operation, document: DocumentNode, variables: dict[str, Any], caller: Caller, request: RequestInfo
) -> _Asked:
    """What is asked, with variables that are not too large. Raises LimitExceeded."""
    check_variables(variables)
    return _Asked(operation, document, variables, caller, request)


class Engine:
    """Prepares and runs operations of one schema.

    `session` opens what resolvers get as their context; it stays open until the last payload is out. `witness` sees
    each payload before it leaves. `deadline_s` is what one operation, or one event of a subscription, may take.
    Without `compiled` graphql-core executes everything: what the compiled execution is compared with.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        plan: Planner,
        session: Callable[[Caller], AbstractAsyncContextManager[object]],
        witness: Witness | None = None,
        deadline_s: float = 30,
        documents: Documents | None = None,
        *,
        compiled: bool = True,
    ) -> None:
        self._schema = schema
        self._plan = plan
        self._session = session
        self._witness = witness
        self.deadline_s = deadline_s
        self._compiled = compiled
        self._named = documents or Documents()
        self._documents = DocumentCache(schema)

    def requested(self, asked: Asked, caller: Caller) -> Operation | list[FormattedError]:
        """The operation that a caller's request brings or names by hash, or the errors of its document.

        Raises BadRequest, DocumentNotTrusted and PersistedQueryMismatch.
        """
        try:
            resolved = self._named.resolve(asked.query, asked.document_id, asked.extensions, caller)
        except PersistedQueryNotFound as error:  # an answer like any other: the client then sends the text
            return [described(error)]
        return self.prepare(resolved.query, asked.operation_name, explores=resolved.explores)

    def prepare(
        self, query: str, operation_name: str | None, *, explores: bool = False
    ) -> Operation | list[FormattedError]:
        """The operation to run, or the errors of a document that is too large, does not parse, validate or have it.

        Only for one who `explores` it may ask for the schema, and do errors suggest names of it.
        """
        document = self._documents.get(query, explores)
        if isinstance(document, list):
            return document
        node = get_operation_ast(document.incremental, operation_name)
        if node is None:
            message = "No operation of that name." if operation_name else "Name one of the operations."
            return [request_error(message, "OPERATION_RESOLUTION_FAILURE")]
        return Operation(document, node)

    async def run(
        self,
        operation: Operation,
        variables: dict[str, Any],
        caller: Caller,
        request: RequestInfo,
        *,
        incremental: bool,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Payloads of a query or mutation: one, or with `incremental` and @defer or @stream several with `hasNext`.

        A request that can't be executed gives one payload without `data`. Raises AppError before a payload that must
        not leave. The deadline is for who sends the payloads to keep: it includes a client that is slow to take them.
        """
        if not incremental or not operation.is_incremental:
            yield await self.answer(operation, variables, caller, request, _as_it_is)
            return
        asked = _asked(operation, operation.document.incremental, variables, caller, request)
        async with self._session(caller) as context:
            first = True
            async with aclosing(self._executed(asked, context)) as payloads:
                async for payload in payloads:
                    yield await self._witnessed(asked, context, payload, first, _as_it_is)
                    first = False

    async def answer(
        self,
        operation: Operation,
        variables: dict[str, Any],
        caller: Caller,
        request: RequestInfo,
        write: Callable[[dict[str, Any]], T],
    ) -> T:
        """The one payload of a query or mutation as `write` makes it, which goes on while its event is recorded.

        Its snapshots are over by then, and its place is somebody else's. Raises AppError as `run`.
        """
        asked = _asked(operation, operation.document.whole, variables, caller, request)
        async with self._session(caller) as context:
            payload = await self._whole(asked, context)
        return await self._witnessed(asked, context, payload, True, write)

    async def subscribe(
        self, operation: Operation, variables: dict[str, Any], caller: Caller, request: RequestInfo
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Payloads of a subscription: one for each event, read in a session of its own, with the rights of that moment.

        One without `data` where it can't begin. The session in which it begins is closed before the first event: a
        source of events that waits holds no connection. Raises AppError, DeadlineExceeded for a slow event too.
        """
        asked = _asked(operation, operation.document.whole, variables, caller, request)
        async with Deadline(self.deadline_s), self._session(caller) as context:
            source = await self._source(asked, context)
            if isinstance(source, dict):
                await self._witnessed(asked, context, source, True, _as_it_is)
        if isinstance(source, dict):
            yield source
            return
        async with aclosing(source) as events:
            async for event in events:
                async with Deadline(self.deadline_s), self._session(caller) as context:
                    if not await _told(event, context):
                        continue
                    payload = await self._whole(asked, context, event)
                    await self._witnessed(asked, context, payload, True, _as_it_is)
                yield payload

    async def _source(self, asked: _Asked, context: object) -> AsyncGenerator[object, None] | dict[str, Any]:
        """The events of a subscription, or the payload that says why there are none."""
        executor = self._executor(asked, context)
        if isinstance(executor, list):
            return {"errors": [variable_error(error) for error in executor]}
        self._planned(asked, executor)
        created = create_source_event_stream(executor)
        source = await created if isawaitable(created) else created
        if isinstance(source, ExecutionResult):
            return {"errors": execution_errors(source.errors or (), asked.request.request_id)}
        return cast("AsyncGenerator[object, None]", source)

    async def _whole(self, asked: _Asked, context: object, event: object = None) -> dict[str, Any]:
        """The payload of an execution that has one; `event` is what a subscription's root field resolves to."""
        if event is None and self._compiled and asked.is_compiled:
            payload = await self._run_compiled(asked, context)
            if payload is not None:
                return payload
        async with aclosing(self._executed(asked, context, event)) as payloads:
            return await anext(payloads)

    async def _executed(
        self, asked: _Asked, context: object, event: object = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Payloads of one execution by graphql-core."""
        executor = self._executor(asked, context, event)
        if isinstance(executor, list):
            yield {"errors": [variable_error(error) for error in executor]}
            return
        plan = self._planned(asked, executor)
        extensions = {"phi": list(plan.masked)} if plan.masked else None
        executing = executor.execute_operation()
        result = await executing if isawaitable(executing) else executing
        if isinstance(result, ExecutionResult):
            yield whole(result, extensions, asked.request.request_id)
            return
        async with aclosing(parts(result, extensions, asked.request.request_id)) as payloads:
            async for payload in payloads:
                yield payload

    async def _run_compiled(self, asked: _Asked, context: Any) -> dict[str, Any] | None:
        """The payload of a compiled operation; None where graphql-core's own execution has to answer."""
        definitions = asked.operation.node.variable_definitions or ()
        variables = get_variable_values(self._schema, definitions, asked.variables, max_errors=50)
        if isinstance(variables, list):
            return {"errors": [variable_error(error) for error in variables]}
        plan = self._plan_of(asked, variables.coerced)
        shape = self._shape(asked, variables)
        if shape is None:
            return None
        try:
            result = await Run(shape, variables).execute(context)
        except Fault:
            return None
        return whole(result, {"phi": list(plan.masked)} if plan.masked else None, asked.request.request_id)

    def _shape(self, asked: _Asked, variables: VariableValues) -> Shape | None:
        """The compiled operation, made for the first of those who see alike."""
        document, shapes = asked.operation.document, asked.operation.document.shapes
        flags = {name: variables.coerced.get(name) for name in document.flags}
        key = (asked.operation.name, view_of(asked.caller).name, *flags.items())
        if key not in shapes:
            while len(shapes) >= SHAPES_MAX:
                del shapes[next(iter(shapes))]
            known = VariableValues({}, {name: value for name, value in flags.items() if value is not None})
            shapes[key] = compiled(self._schema, asked.document, asked.operation.node, known, asked.caller)
        return shapes[key]

    def _executor(self, asked: _Asked, context: object, event: object = None) -> list[GraphQLError] | Executor[Any]:
        """What executes the operation, or what is wrong with its variables."""
        return _EXECUTOR.build(
            self._schema,
            asked.document,
            root_value=event,
            context_value=context,
            raw_variable_values=asked.variables,
            operation_name=asked.operation.name,
        )

    def _planned(self, asked: _Asked, executor: Executor[Any]) -> AccessPlan:
        return self._plan_of(asked, executor.variable_values.coerced)

    def _plan_of(self, asked: _Asked, coerced: dict[str, Any]) -> AccessPlan:
        """The access plan; what an operation costs is checked before. Raises CostLimitExceeded."""
        check_cost(self._schema, asked.document, asked.operation.name, coerced)
        return self._plan(self._schema, asked.document, asked.operation.name, coerced, asked.caller)

    async def _witnessed(
        self, asked: _Asked, context: object, payload: dict[str, Any], first: bool, write: Callable[[dict[str, Any]], T]
    ) -> T:
        """The one place that every payload goes through before it leaves: written while its event is, out after it."""
        if not self._witness:
            return write(payload)
        recorded = self._witness(asked.operation, asked.caller, context, payload, asked.request, first)
        try:
            for _ in range(TURNS):
                await asyncio.sleep(0)
            return write(payload)
        finally:
            await recorded


async def _told(event: object, context: object) -> bool:
    """Whether an event has something to tell this caller now. Raises AppError where the subscription is over for it."""
    told: Callable[[object], Awaitable[bool]] | None = getattr(event, "told", None)
    return True if told is None else await told(context)


def _as_it_is(payload: dict[str, Any]) -> dict[str, Any]:
    return payload
