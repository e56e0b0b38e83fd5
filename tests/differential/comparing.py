"""One document asked twice: by graphql-core's own execution, which is the oracle, and by the compiled one."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import pytest
from graphql import (
    FieldNode,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    get_operation_ast,
    parse,
    separate_operations,
    visit,
)

import resolvers.connection
from db.caller import Caller
from db.errors import AppError
from db.stores import Stores
from graph.encoding import encoded
from graph.execution import Engine
from graph.plan import plan
from loaders.page import TimePage
from loaders.reader import Reader
from resolvers.context import Context
from tests.asking import CURSOR_KEY, REQUEST
from tests.differential.documents import Document
from tests.schema_walk import GRAPH

# A signature is of its second.
SIGNED = re.compile(rb"X-Amz-(?:Date|Signature)=[^&\"]*")
AS_OF = re.compile(rb'"\d{4}(-\d\d){2}T\d\d(:\d\d){2}\.\d{3}\+00:00"')
"""Of which moment a copy is: of one that is made in the request, of that request."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that must not differ."""

    data: bytes
    errors: Sequence[bytes]
    """By path and message."""
    masked: bytes
    """`extensions.phi`."""
    refusal: str | None
    """Class and message of the error that refused the request as a whole."""
    patients: frozenset[tuple[UUID, UUID]]
    """Whom the audit is told, after their facility."""
    behind: frozenset[UUID]
    """Patients of rows that were read to say that a page has a next one, and are not in the answer."""
    compiled: bool
    """Whether graphql-core's own execution was not needed."""

    def differences(self, stock: Outcome) -> list[str]:
        """Names of what is not the same as graphql-core's own execution gives."""
        mine, theirs = self._settled(), stock._settled()
        same = {
            "data": self.data == stock.data,
            "errors": self.errors == stock.errors or (mine is not None and mine == theirs),
            "masked": self.masked == stock.masked,
            "refusal": self.refusal == stock.refusal,
            "patients": self._tells_as(stock),
        }
        return [name for name, alike in same.items() if not alike]

    def _settled(self) -> Sequence[bytes] | None:
        """Errors without those beside one that made their parent null; None where there are none such.

        Whether a field had failed yet when null spread over it is chance, in graphql-core too.
        """
        data, errors = orjson.loads(self.data or b"null"), [orjson.loads(one) for one in self.errors]
        lost = [_lost(data, error.get("path") or []) for error in errors]
        kept = [one for one, at in zip(self.errors, lost, strict=True) if at is None]
        return [*kept, *sorted({f"null at {at}".encode() for at in lost if at})] if any(lost) else None

    def _tells_as(self, stock: Outcome) -> bool:
        """Nobody shown is left out, and nobody told who was not read: in two executions where the first gave up."""
        shown = {one for one in stock.patients if one[1] not in stock.behind}
        return shown <= self.patients and (self.patients <= stock.patients or not self.compiled)


def _lost(data: Any, path: Sequence[str | int]) -> str | None:
    """Place of the null that a path ends in before its end; None for a path to the end."""
    for place, key in enumerate(path):
        if data is None:
            return repr(path[:place])
        data = data[key]
    return None


class _Watched(Engine):
    """An engine that knows whether it fell back on graphql-core's own execution."""

    fell_back = False

    def _executor(self, asked: Any, context: object, event: object = None) -> Any:
        self.fell_back = True
        return super()._executor(asked, context, event)


async def outcome(stores: Stores, caller: Caller, document: Document, *, compiled: bool) -> Outcome:
    """The answer of an engine that has never seen the document."""
    seen: set[tuple[UUID, UUID]] = set()
    behind: set[UUID] = set()

    @asynccontextmanager
    async def session(caller: Caller) -> AsyncGenerator[Context]:
        reader = Reader(stores, caller)
        try:
            yield Context(reader, CURSOR_KEY)
        finally:
            await reader.close()
            seen.update((at, patient) for at, patients in reader.seen.news().items() for patient in patients)

    engine = _Watched(GRAPH, plan, session, compiled=compiled)
    operation = engine.prepare(document.text, document.operation_name)
    assert not isinstance(operation, list), f"not valid: {operation}\n{document.text}"
    try:
        with _looking_behind(behind):
            run = engine.run(operation, dict(document.variables), caller, REQUEST, incremental=False)
            [payload] = [one async for one in run]
        data = AS_OF.sub(b'""', SIGNED.sub(b"", encoded(payload.get("data"))))
    except (AppError, TypeError) as error:  # the latter for a value that no scalar looks at and JSON does not know
        refusal = f"{type(error).__name__}: {error}"
        return Outcome(b"", (), b"", refusal, frozenset(seen), frozenset(behind), compiled=False)
    errors = [orjson.dumps(one, None, orjson.OPT_SORT_KEYS) for one in sorted(payload.get("errors", ()), key=_order)]
    told = frozenset(seen), frozenset(behind)
    return Outcome(data, errors, encoded(payload.get("extensions")), None, *told, compiled=not engine.fell_back)


@contextmanager
def _looking_behind(found: set[UUID]) -> Generator[None]:
    """Notes patients of rows behind the pages that are made."""
    make = resolvers.connection.time_slice

    def looking(signer: Any, page: TimePage, rows: Sequence[Any]) -> Any:
        patients = (getattr(row, "patient_id", None) or getattr(row, "id", None) for row in rows[page.first :])
        found.update(patient for patient in patients if patient)
        return make(signer, page, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resolvers.connection, "time_slice", looking)
        yield


def _order(error: Mapping[str, Any]) -> tuple[str, str]:
    return str(error.get("path")), str(error["message"])


def selected(document: Document) -> tuple[set[str], set[str]]:
    """Coordinates of the fields and of the arguments that the operation asks for."""
    parsed = parse(document.text)
    operation = get_operation_ast(parsed, document.operation_name)
    assert operation is not None
    name = operation.name.value if operation.name else ""
    fields: set[str] = set()
    arguments: set[str] = set()
    types = TypeInfo(GRAPH)

    class Collecting(Visitor):
        def enter_field(self, node: FieldNode, *_args: Any) -> None:
            parent = types.get_parent_type()
            assert parent is not None
            if node.name.value == "__typename":
                return
            coordinate = f"{parent.name}.{node.name.value}"
            fields.add(coordinate)
            arguments.update(f"{coordinate}({argument.name.value}:)" for argument in node.arguments or ())

    visit(separate_operations(parsed)[name], TypeInfoVisitor(types, Collecting()))
    return fields, arguments
