"""Payloads of an answer, as they are sent: results of the executor with every error masked."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from graphql import ExecutionResult
from graphql.execution import (
    CompletedResult,
    ExperimentalIncrementalExecutionResults,
    IncrementalDeferResult,
    IncrementalStreamResult,
    InitialIncrementalExecutionResult,
    SubsequentIncrementalExecutionResult,
)

from graph.errors import execution_errors


def whole(
    result: ExecutionResult | InitialIncrementalExecutionResult, extensions: dict[str, Any] | None, request_id: str
) -> dict[str, Any]:
    """The payload of an answer in one piece, or the first one of several."""
    payload: dict[str, Any] = {"data": result.data}
    if result.errors:
        payload["errors"] = execution_errors(result.errors, request_id)
    if extensions:
        payload["extensions"] = extensions
    return payload


async def parts(
    results: ExperimentalIncrementalExecutionResults, extensions: dict[str, Any] | None, request_id: str
) -> AsyncGenerator[dict[str, Any], None]:
    """Initial and subsequent payloads; leaving early cancels the fields that are still under way."""
    async with aclosing(results.subsequent_results) as subsequent_results:
        initial = results.initial_result
        yield whole(initial, extensions, request_id) | {
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
