"""Engine: documents parsed and validated once, operations executed whole or in deferred payloads."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Protocol

from graphql import (
    REMOVE,
    DirectiveNode,
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    ValuesOfCorrectTypeRule,
    Visitor,
    VisitorAction,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
    visit,
)
from graphql.execution import (
    CompletedResult,
    Executor,
    ExperimentalIncrementalExecutionResults,
    IncrementalDeferResult,
    IncrementalStreamResult,
    InitialIncrementalExecutionResult,
    SubsequentIncrementalExecutionResult,
)
from graphql.execution.incremental import IncrementalExecutor

from db.caller import Caller, Profile
from graph.errors import (
    FormattedError,
    ValuesOfCorrectType,
    execution_errors,
    request_error,
    syntax_error,
    validation_error,
    variable_error,
)

TOKENS_MAX = 10_000
COMMENTS_MAX = 1_000
VALIDATION_ERRORS_MAX = 20

CACHE_CHARACTERS_MAX = 1_000_000
"""Query text of all cached documents; parsed, a character takes 120 bytes, at worst 280."""
ENTRY_CHARACTERS_MIN = 500
"""What the smallest document counts, so that tiny ones do not fill the memory by their number."""

_RULES = [ValuesOfCorrectType if rule is ValuesOfCorrectTypeRule else rule for rule in specified_rules]


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
        profile: Profile,
    ) -> AccessPlan:
        """The plan. Raises PhiFilterForbidden where an argument binds a value that the profile may not read."""
        ...


@dataclass(frozen=True, slots=True)
class Document:
    """A valid document, as it came and with the directives of incremental delivery taken out."""

    digest: str
    """SHA-256 of the query text, in hex."""
    incremental: DocumentNode
    whole: DocumentNode


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


class Engine:
    """Prepares and runs operations of one schema.

    `session` opens what resolvers get as their context; it stays open until the last payload is out.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        plan: Planner,
        session: Callable[[Caller], AbstractAsyncContextManager[object]],
    ) -> None:
        self._schema = schema
        self._plan = plan
        self._session = session
        self._documents: OrderedDict[str, Document] = OrderedDict()
        self._characters = 0

    def prepare(self, query: str, operation_name: str | None) -> Operation | list[FormattedError]:
        """The operation to run, or the errors of a document that does not parse, validate or have it."""
        document = self._document(query)
        if isinstance(document, list):
            return document
        node = get_operation_ast(document.incremental, operation_name)
        if node is None:
            message = "No operation of that name." if operation_name else "Name one of the operations."
            return [request_error(message, "OPERATION_RESOLUTION_FAILURE")]
        return Operation(document, node)

    async def run(
        self, operation: Operation, variables: dict[str, Any], caller: Caller, request_id: str, *, incremental: bool
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Payloads of the answer: one, or with `incremental` and @defer or @stream several, which say `hasNext`.

        A request that can't be executed gives one payload without `data`. Raises AppError before the first payload.
        """
        document = operation.document.incremental if incremental else operation.document.whole
        async with self._session(caller) as context:
            executor: list[GraphQLError] | Executor[Any] = _EXECUTOR.build(
                self._schema,
                document,
                context_value=context,
                raw_variable_values=variables,
                operation_name=operation.name,
            )
            if isinstance(executor, list):
                yield {"errors": [variable_error(error) for error in executor]}
                return
            coerced = executor.variable_values.coerced
            plan = self._plan(self._schema, document, operation.name, coerced, caller.profile)
            extensions = {"phi": list(plan.masked)} if plan.masked else None
            executing = executor.execute_operation()
            result = await executing if isawaitable(executing) else executing
            if isinstance(result, ExecutionResult):
                yield _payload(result, extensions, request_id)
                return
            async for payload in _payloads(result, extensions, request_id):
                yield payload

    def _document(self, query: str) -> Document | list[FormattedError]:
        """The parsed and validated document, from the cache where it was valid before."""
        digest = hashlib.sha256(query.encode()).hexdigest()
        document = self._documents.get(digest)
        if document is not None:
            self._documents.move_to_end(digest)
            return document
        try:
            parsed = parse(query, max_lexical_tokens=TOKENS_MAX, max_comments=COMMENTS_MAX)
        except GraphQLSyntaxError as error:
            return [syntax_error(error)]
        errors = validate(self._schema, parsed, _RULES, max_errors=VALIDATION_ERRORS_MAX)
        if errors:
            return [validation_error(error) for error in errors]
        document = Document(digest, parsed, visit(parsed, _WithoutIncremental()))
        self._remember(document, query)
        return document

    def _remember(self, document: Document, query: str) -> None:
        """Keeps the document and drops the least recently used ones beyond the bound."""
        self._documents[document.digest] = document
        self._characters += _weight(query)
        while self._characters > CACHE_CHARACTERS_MAX and len(self._documents) > 1:
            _, dropped = self._documents.popitem(last=False)
            source = dropped.incremental.loc
            self._characters -= _weight(source.source.body) if source else 0


class _WithoutIncremental(Visitor):
    """Takes @defer and @stream out of a document, for a client that wants its answer in one piece."""

    def enter_directive(self, node: DirectiveNode, *_args: Any) -> VisitorAction:
        return REMOVE if node.name.value in ("defer", "stream") else None


def _weight(query: str) -> int:
    return max(len(query), ENTRY_CHARACTERS_MIN)


def _payload(
    result: ExecutionResult | InitialIncrementalExecutionResult, extensions: dict[str, Any] | None, request_id: str
) -> dict[str, Any]:
    payload: dict[str, Any] = {"data": result.data}
    if result.errors:
        payload["errors"] = execution_errors(result.errors, request_id)
    if extensions:
        payload["extensions"] = extensions
    return payload


async def _payloads(
    results: ExperimentalIncrementalExecutionResults, extensions: dict[str, Any] | None, request_id: str
) -> AsyncGenerator[dict[str, Any], None]:
    """Initial and subsequent payloads; leaving early cancels the fields that are still under way."""
    async with aclosing(results.subsequent_results) as subsequent_results:
        initial = results.initial_result
        yield _payload(initial, extensions, request_id) | {
            "pending": [pending.formatted for pending in initial.pending],
            "hasNext": initial.has_next,
        }
        async for subsequent in subsequent_results:
            yield _subsequent(subsequent, request_id)


def _subsequent(result: SubsequentIncrementalExecutionResult, request_id: str) -> dict[str, Any]:
    payload: dict[str, Any] = {"hasNext": result.has_next}
    if result.pending:
        payload["pending"] = [pending.formatted for pending in result.pending]
    if result.incremental:
        payload["incremental"] = [_part(part, request_id) for part in result.incremental]
    if result.completed:
        payload["completed"] = [_part(part, request_id) for part in result.completed]
    return payload


def _part(part: IncrementalDeferResult | IncrementalStreamResult | CompletedResult, request_id: str) -> dict[str, Any]:
    """A deferred, streamed or completed part with its errors masked."""
    formatted: dict[str, Any] = {**part.formatted}
    if part.errors:
        formatted["errors"] = execution_errors(part.errors, request_id)
    return formatted
